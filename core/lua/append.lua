-- Store a chat message and publish it: both, or neither.
-- ARGV  1 field of the connection in meta  2 sender: User or Support
--       3 number of the message among those of its connection  4 content, as JSON
-- PLACES: so many messages of a connection may be under way.  MOST_MESSAGES, MOST_BYTES of a chat.
-- CHAT_TTL_MS, WAITING_TTL_MS
-- Returns 'stored' (also if it was already), 'gone', or 'full'.
-- A message is sent again while it is under way, so for each connection as many numbers are kept, each in the place
-- where the one that many messages later will replace it.

local sender, number, content = ARGV[2], ARGV[3], ARGV[4]
local said = ARGV[1] .. number % PLACES
local meta = redis.call(
  'HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros', 'offset', said, 'userMessages'
)
local user, support = meta[1], meta[3]
if not user then return 'gone' end
if meta[8] == number then return 'stored' end

-- The args of a ChatMessage, as the struct StoredMessage is encoded.
local micros = math.max(now_us(), (meta[6] or 0) + 1)
local body = '{"userId":"' .. user .. (support and '","supportId":"' .. support or '')
  .. '","content":' .. content .. ',"timestamp":"' .. timestamp(micros) .. '","from":"' .. sender .. '"}'

local messages, bytes = (meta[4] or 0) + 1, (meta[5] or 0) + #body
if messages > MOST_MESSAGES or bytes > MOST_BYTES then return 'full' end

local offset = meta[7] + 1
redis.call(
  'HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros), 'offset', offset, said, number,
  'userMessages', (meta[9] or 0) + (sender == 'User' and 1 or 0)
)
tell(offset, 'ChatMessage', body)
renew((not support and meta[2]) and WAITING_TTL_MS or CHAT_TTL_MS)
return 'stored'
