-- Store a chat message and publish it: both, or neither.
-- ARGV  1 number of the message among those of its connection  2 content, as JSON
--       3 field of the connection in meta  4 so many messages of a connection may be under way
--       5 sender: User or Support  6 most messages  7 most bytes  8 chat TTL in ms  9 waiting TTL in ms
-- Returns 'stored' (also if it was already), 'gone', or 'full'.
-- A message is sent again while it is under way, so for each connection as many numbers are kept, each in the place
-- where the one that many messages later will replace it.

local number, content, sender = ARGV[1], ARGV[2], ARGV[5]
local said = ARGV[3] .. number % ARGV[4]
local meta = redis.call(
  'HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros', 'offset', said
)
local user, support = meta[1], meta[3]
if not user then return 'gone' end
if meta[8] == number then return 'stored' end

-- The args of a ChatMessage, as the struct StoredMessage is encoded.
local micros = math.max(now_us(), tonumber(meta[6] or 0) + 1)
local body = '{"userId":"' .. user .. (support and '","supportId":"' .. support or '')
  .. '","content":' .. content .. ',"timestamp":"' .. timestamp(micros) .. '","from":"' .. sender .. '"}'

local messages, bytes = (meta[4] or 0) + 1, (meta[5] or 0) + #body
if messages > tonumber(ARGV[6]) or bytes > tonumber(ARGV[7]) then return 'full' end

local offset = whole(meta[7] + 1)
redis.call(
  'HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros), 'offset', offset, said, number
)
tell(offset, 'ChatMessage', body)
renew((not support and meta[2]) and ARGV[9] or ARGV[8])
return 'stored'
