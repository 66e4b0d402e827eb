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

local micros = math.max(now_us(), tonumber(meta[6] or 0) + 1)
local stamp = timestamp(micros)
local place = tonumber(ARGV[4])
local body = string.sub(ARGV[3], 1, place) .. stamp .. string.sub(ARGV[3], place + #stamp + 1)

redis.call('HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros))
redis.call('HSET', KEYS[3], ARGV[1], append('ChatMessage', body))
renew((support == '' and meta[2]) and ARGV[8] or ARGV[7])
return {'stored'}
