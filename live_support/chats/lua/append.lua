-- Store a chat message and publish it: both, or neither.
-- ARGV  1 field of the connection in meta  2 the sender's own id: userId or supportId
--       3 number of the message among those of its connection  4 content, as JSON
-- REPLAY_WINDOW: messages of a connection whose numbers are kept.  MAX_MESSAGES, MAX_BYTES of a chat.
-- CHAT_TTL_MS, WAITING_TTL_MS
-- Returns 'stored' (also if it was already), 'late', 'gone', 'forbidden' (the sender is no longer this chat's User or
-- Support), or 'full'.
-- A message whose reply was lost is sent again. So the highest stored number is kept for each connection, followed by
-- the numbers in the window below it that were not stored: "7", or "7 5 6". Messages with these numbers are too late:
-- the messages of a connection are stored in their order, or not at all.

local own_id, number_text, content = ARGV[2], ARGV[3], ARGV[4]
local meta = redis.call(
  'HMGET', META, 'userId', 'state', 'supportId', 'messages', 'bytes', 'micros', 'offset', ARGV[1], 'userMessages'
)
local user, state, support = meta[1], meta[2], meta[3]
if not user or is_of_later_release(state) then return 'gone' end

local number, last, left_out = tonumber(number_text), tonumber(meta[8] or 0), ''
if not last then
  last, left_out = string.match(meta[8], '^(%d+)(.*)$')
  last = tonumber(last)
end
if number <= last then
  local late = number <= last - REPLAY_WINDOW or string.find(left_out .. ' ', ' ' .. number_text .. ' ', 1, true)
  return late and 'late' or 'stored'
end

-- The right to write is checked here, in the same step as the write: the sender's process may not know yet that the
-- chat has another Support.
local sender = own_id == user and 'User' or own_id == support and 'Support'
if not sender then return 'forbidden' end

-- The args of a ChatMessage, as the struct StoredMessage is encoded.
local micros = math.max(now_us, (meta[6] or 0) + 1)
local body = '{"userId":"' .. user .. (support and '","supportId":"' .. support or '')
  .. '","content":' .. content .. ',"timestamp":"' .. timestamp(micros) .. '","from":"' .. sender .. '"}'

local messages, bytes = (meta[4] or 0) + 1, (meta[5] or 0) + #body
if messages > MAX_MESSAGES or bytes > MAX_BYTES then return 'full' end

local stored_numbers = number_text
if left_out ~= '' or number > last + 1 then
  for each in string.gmatch(left_out, '%d+') do
    if tonumber(each) > number - REPLAY_WINDOW then stored_numbers = stored_numbers .. ' ' .. each end
  end
  for each = math.max(last + 1, number - REPLAY_WINDOW + 1), number - 1 do
    stored_numbers = stored_numbers .. ' ' .. each
  end
end

local offset = whole(meta[7] + 1)  -- as text at once: it is written three times
redis.call(
  'HSET', META, 'messages', messages, 'bytes', bytes, 'micros', whole(micros), 'offset', offset, ARGV[1], stored_numbers,
  'userMessages', (meta[9] or 0) + (sender == 'User' and 1 or 0)
)
write_entry(offset, 'ChatMessage', body)
-- Where an earlier release has let the User join, the state does not say so.
local waiting = not support and (state == 'waiting' or redis.call('HEXISTS', META, 'joined') == 1)
renew(waiting and WAITING_TTL_MS or CHAT_TTL_MS)
return 'stored'
