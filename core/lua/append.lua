-- Store a chat message and publish it: both, or neither.
-- ARGV  1 message id  2 args of ChatMessage, without supportId and with a placeholder for the timestamp
--       3 place for supportId  4 place of the timestamp  5 most messages  6 most bytes
--       7 chat TTL in ms  8 waiting TTL in ms
-- Returns 'stored' (also if it was already), 'gone', or 'full'.

local meta = redis.call('HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros', 'offset')
if not meta[1] then return 'gone' end

local unstamped, support = ARGV[2], meta[3] and ('"supportId":"' .. meta[3] .. '",') or ''
local messages, bytes = tonumber(meta[4] or 0) + 1, tonumber(meta[5] or 0) + #unstamped + #support
if messages > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then
  return redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 and 'stored' or 'full'
end
local offset = tonumber(meta[7] or 0) + 1
if redis.call('HSETNX', KEYS[3], ARGV[1], offset) == 0 then return 'stored' end

local micros = math.max(now_us(), tonumber(meta[6] or 0) + 1)
local stamp = timestamp(micros)
local place = tonumber(ARGV[4])
local body = string.sub(unstamped, 1, ARGV[3]) .. support .. string.sub(unstamped, ARGV[3] + 1, place)
  .. stamp .. string.sub(unstamped, place + #stamp + 1)

redis.call('HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros), 'offset', offset)
tell(offset, 'ChatMessage', body)
renew((not meta[3] and meta[2]) and ARGV[8] or ARGV[7])
return 'stored'
