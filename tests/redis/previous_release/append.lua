-- Store a chat message and publish it: both, or neither.
-- ARGV  1 field of the connection in meta  2 sender: User or Support
--       3 number of the message among those of its connection  4 content, as JSON
-- PLACES: so many messages of a connection may be under way.  MOST_MESSAGES, MOST_BYTES of a chat.
-- CHAT_TTL_MS, WAITING_TTL_MS
-- Returns 'stored' (also if it was already), 'late', 'gone', or 'full'.
-- A message is sent again while it is under way. So the highest number that was stored is kept for each connection,
-- and behind it those of the last PLACES below it that were not: "7", or "7 5 6". These come too late: what a
-- connection says is stored in its order, or not at all.

local sender, content = ARGV[2], ARGV[4]
local meta = redis.call(
  'HMGET', KEYS[1], 'userId', 'joined', 'supportId', 'messages', 'bytes', 'micros', 'offset', ARGV[1], 'userMessages'
)
local user, support = meta[1], meta[3]
if not user then return 'gone' end

local number, last, left_out = tonumber(ARGV[3]), tonumber(meta[8] or 0), ''
if not last then
  last, left_out = string.match(meta[8], '^(%d+)(.*)$')
  last = tonumber(last)
end
if number <= last then
  local late = number <= last - PLACES or string.find(left_out .. ' ', ' ' .. ARGV[3] .. ' ', 1, true)
  return late and 'late' or 'stored'
end

-- The args of a ChatMessage, as the struct StoredMessage is encoded.
local micros = math.max(now_us(), (meta[6] or 0) + 1)
local body = '{"userId":"' .. user .. (support and '","supportId":"' .. support or '')
  .. '","content":' .. content .. ',"timestamp":"' .. timestamp(micros) .. '","from":"' .. sender .. '"}'

local messages, bytes = (meta[4] or 0) + 1, (meta[5] or 0) + #body
if messages > MOST_MESSAGES or bytes > MOST_BYTES then return 'full' end

local said = ARGV[3]
if left_out ~= '' or number > last + 1 then
  for each in string.gmatch(left_out, '%d+') do
    if tonumber(each) > number - PLACES then said = said .. ' ' .. each end
  end
  for each = math.max(last + 1, number - PLACES + 1), number - 1 do said = said .. ' ' .. each end
end

local offset = meta[7] + 1
redis.call(
  'HSET', KEYS[1], 'messages', messages, 'bytes', bytes, 'micros', whole(micros), 'offset', offset, ARGV[1], said,
  'userMessages', (meta[9] or 0) + (sender == 'User' and 1 or 0)
)
tell(offset, 'ChatMessage', body)
renew((not support and meta[2]) and WAITING_TTL_MS or CHAT_TTL_MS)
return 'stored'
