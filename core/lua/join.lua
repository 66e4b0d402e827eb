-- Decide a Join by what is stored (PROTOCOL section 3), and read the log up to this moment.
-- ARGV  1 connection  2 participant  3 userId  4 given supportId, or ''  5 token hash, or ''
--       6 args of Joined, to append on a first Join  7 new supportId  8 supportUserName, or ''
--       9 chat TTL in ms  10 waiting TTL in ms  11 connections per participant
--       12 the Support's agent, or ''  13 most bytes of a log that comes with the reply
--       14 most replaced connections of the chat
-- Returns {'gone' | 'forbidden' | 'claimed' | 'unnamed' | 'crowded'}
--      or {'first' | 'again', supportId, supportUserName, 'joined' | '' (the User), TTL in ms, offset,
--          kind, body, kind, body ...}; of a larger log no entry, but the offset up to which it is to be read
-- A repeated call of the same connection gets the same answer and appends nothing; so does a Support whose first
-- Join was answered into a lost connection, and who comes again under the same name (and, with tokens, is the same agent).

local connection, participant, user, given = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local meta = redis.call(
  'HMGET', KEYS[1], 'userId', 'tokenHash', 'joined', 'supportId', 'supportUserName', 'agent', 'offset', 'messages'
)
local joined, support, support_name = meta[3] or '', meta[4] or '', meta[5] or ''

if not meta[1] then return {'gone'} end
if user ~= meta[1] then return {'forbidden'} end

-- Whether a Support may come in again that was never told its supportId, because its connection was lost before
-- `Joined` reached it: no connection of the Support stands but this one, when the call is repeated, and it has said
-- nothing.
local function never_heard()
  for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if string.sub(member, 1, 8) == 'Support:' and member ~= 'Support:' .. connection then return false end
  end
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
    -- Inside of a content its quotes would be escaped.
    if string.find(entry[2][2], '"from":"Support"', 1, true) then return false end
  end
  return true
end

local first, repeated
if participant == 'User' then
  if meta[2] ~= '' and meta[2] ~= ARGV[5] then return {'forbidden'} end
  repeated = joined == connection
  first = joined == '' or repeated
else
  local same = support ~= '' and support_name == ARGV[8] and (meta[6] or '') == ARGV[12]
  repeated = support == ARGV[7] or (given == '' and same and never_heard())
  first = support == '' or repeated
  if given == '' then
    if not first then return {'claimed'} end
    if ARGV[8] == '' then return {'unnamed'} end
  elseif first or given ~= support or (meta[6] or '') ~= ARGV[12] then
    return {'forbidden'}
  end
end

-- The oldest connection makes room. Its end is an entry of the log, so its process cannot miss it.
local this, own, surplus = participant .. ':' .. connection, {}, -tonumber(ARGV[11])
for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  if string.sub(member, 1, #participant + 1) == participant .. ':' and member ~= this then own[#own + 1] = member end
end
surplus = surplus + #own + 1
-- What is no message is bounded, too: nobody may let a log grow for ever by coming again and again.
if surplus > 0 and tonumber(meta[7]) - tonumber(meta[8] or 0) >= tonumber(ARGV[14]) then return {'crowded'} end

if first and not repeated then
  if participant == 'User' then
    joined = connection
    redis.call('HSET', KEYS[1], 'joined', connection)
  else
    support, support_name = ARGV[7], ARGV[8]
    redis.call('HSET', KEYS[1], 'supportId', support, 'supportUserName', support_name, 'agent', ARGV[12])
  end
  append('Joined', ARGV[6])
end

redis.call('ZADD', KEYS[3], 'NX', whole(now_us()), this)
for index = 1, surplus do
  redis.call('ZREM', KEYS[3], own[index])
  append('Replaced', string.sub(own[index], #participant + 2))
end

local ttl = (support == '' and joined ~= '') and ARGV[10] or ARGV[9]
renew(ttl)

local size = redis.call('HMGET', KEYS[1], 'offset', 'bytes')
local offset = tonumber(size[1])
local reply = {
  first and 'first' or 'again', support, support_name, joined ~= '' and 'joined' or '', tonumber(ttl), offset,
}
-- An entry costs some 100 bytes besides its message.
if tonumber(size[2] or 0) + 100 * offset <= tonumber(ARGV[13]) then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
    reply[#reply + 1] = entry[2][1]
    reply[#reply + 1] = entry[2][2]
  end
end
return reply
