-- Store a chat message and publish it: both, or neither.
-- ARGV  1 number of the message, which rises with each of its connection  2 content, as JSON
--       3 field of the connection in meta  4 sender: User or Support
--       5 most messages  6 most bytes  7 chat TTL in ms  8 waiting TTL in ms
-- Returns 'stored' (also if it was already), 'gone', or 'full'.
-- A connection's messages come in their order, and once one was refused here no later one is stored, so its last
-- number tells which of them are stored.

local number, content, said, sender = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local meta = redis.call(
  'HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros', 'offset', said
)
local user, support, messages, bytes = meta[1], meta[3], tonumber(meta[4] or 0), tonumber(meta[5] or 0)
if not user then return 'gone' end
if meta[8] and tonumber(meta[8]) >= tonumber(number) then return 'stored' end
if messages >= tonumber(ARGV[5]) or bytes >= tonumber(ARGV[6]) then return 'full' end

-- The args of a ChatMessage, as the struct StoredMessage is encoded.
local micros = math.max(now_us(), tonumber(meta[6] or 0) + 1)
local body = '{"userId":"' .. user .. (support and '","supportId":"' .. support or '')
  .. '","content":' .. content .. ',"timestamp":"' .. timestamp(micros) .. '","from":"' .. sender .. '"}'

local offset = whole(meta[7] + 1)
redis.call(
  'HSET', KEYS[1],
  'messages', messages + 1, 'bytes', bytes + #body, 'micros', whole(micros), 'offset', offset, said, number
)
tell(offset, 'ChatMessage', body)
renew((not support and meta[2]) and ARGV[8] or ARGV[7])
return 'stored'
