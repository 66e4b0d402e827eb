-- Store a chat message and publish it: both, or neither.
-- ARGV  1 message id  2 the supportId that the body holds, or ''  3 args of ChatMessage  4 place of the timestamp
--       5 most messages  6 most bytes  7 chat TTL in ms  8 waiting TTL in ms
-- Returns {'stored'} (also if it was already), {'gone'}, {'full'}, or {'stale', supportId} when the body
-- holds another supportId than the chat's.

local meta = redis.call('HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros')
local support = meta[3] or ''
local messages, bytes = tonumber(meta[4] or 0) + 1, tonumber(meta[5] or 0) + #ARGV[3]

if not meta[1] then return {'gone'} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return {'stored'} end
if support ~= ARGV[2] then return {'stale', support} end
if messages > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then return {'full'} end

-- UTC as ISO 8601 with six decimals. Days to a date by Howard Hinnant's civil_from_days.
local function timestamp(us)
  local floor = math.floor
  local seconds = floor(us / 1000000)
  local days = floor(seconds / 86400) + 719468
  local era = floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local shifted_month = floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - floor((153 * shifted_month + 2) / 5) + 1
  local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return string.format(
    '%04d-%02d-%02dT%02d:%02d:%02d.%06dZ',
    year, month, day, floor(seconds / 3600) % 24, floor(seconds / 60) % 60, seconds % 60, us % 1000000
  )
end

local micros = math.max(now_us(), tonumber(meta[6] or 0) + 1)
local stamp = timestamp(micros)
local place = tonumber(ARGV[4])
local body = string.sub(ARGV[3], 1, place) .. stamp .. string.sub(ARGV[3], place + #stamp + 1)

redis.call('HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros))
redis.call('HSET', KEYS[3], ARGV[1], append('ChatMessage', body))
renew((support == '' and meta[2]) and ARGV[8] or ARGV[7])
return {'stored'}
