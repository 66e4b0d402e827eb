-- Decide a Join by the stored state (PROTOCOL section 3), and read the log in the same step if it is short.
-- ARGV  1 connection  2 participant  3 userId  4 given supportId, or ''  5 token hash, or ''
--       6 args of Joined, to append on a first Join  7 new supportId  8 supportUserName, or ''
--       9 the Support's agent, or ''
-- CHAT_TTL_MS, WAITING_TTL_MS.  MAX_CONNECTIONS of a participant, MAX_REPLACED connections of the chat.
-- JOINS: size of the bucket, in which one join comes back every JOIN_US.  WHOLE_LOG_BYTES: a longer log is left out.
-- Returns {'gone' | 'forbidden' | 'claimed' | 'unnamed' | 'crowded'}, {'limited', ms until the next try}
--      or {'first' | 'again', supportId, supportUserName, state of the chat, TTL in ms,
--          'full' | '' (whether others are to make room), offset, messages, bytes of messages,
--          kind, body, kind, body ...}; of a longer log no entry
-- A repeated call of the same connection gets the same answer and appends nothing.

local connection, participant, user, given = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local meta = redis.call(
  'HMGET', META, 'userId', 'tokenHash', 'joined', 'supportId', 'supportUserName', 'agent',
  'offset', 'messages', 'bytes', 'userMessages', 'joins', 'state'
)
local joined, support, support_name, agent = meta[3] or '', meta[4] or '', meta[5] or '', meta[6] or ''
local messages = tonumber(meta[8] or 0)

if not meta[1] or is_of_later_release(meta[12]) then return {'gone'} end
if user ~= meta[1] then return {'forbidden'} end

-- The list is short, because a connection beyond the maximum replaces another.
local this, known, own, supports = participant .. ':' .. connection, false, 0, 0
for _, member in ipairs(redis.call('ZRANGE', CONNECTIONS, 0, -1)) do
  if member == this then
    known = true
  else
    if string.sub(member, 1, #participant + 1) == participant .. ':' then own = own + 1 end
    if string.sub(member, 1, 8) == 'Support:' then supports = supports + 1 end
  end
end

-- Whether this is the chat's Support, though it gives no supportId: its connection may have been lost before `Joined`
-- reached it. A token identifies it. Without one the name does, but only while no Support is connected and the Support
-- has sent nothing: then a stranger with the same name gains nothing. (Messages that a process of an older release has
-- stored are not counted as the User's, since their sender is not known.)
local function is_the_support()
  if support == '' or agent ~= ARGV[9] then return false end
  if agent ~= '' then return true end
  return support_name == ARGV[8] and supports == 0 and tonumber(meta[10] or 0) == messages
end

local first, repeated
if participant == 'User' then
  if meta[2] ~= '' and meta[2] ~= ARGV[5] then return {'forbidden'} end
  repeated = joined == connection
  first = joined == '' or repeated
else
  repeated = support == ARGV[7] or (given == '' and is_the_support())
  first = support == '' or repeated
  if given == '' then
    if not first then return {'claimed'} end
    if support == '' and ARGV[8] == '' then return {'unnamed'} end
  elseif first or given ~= support or agent ~= ARGV[9] then
    return {'forbidden'}
  end
end

-- Entries without a message are bounded, too: otherwise a client could let a log grow for ever by joining repeatedly.
local full = own >= MAX_CONNECTIONS
if full and tonumber(meta[7]) - messages >= MAX_REPLACED then return {'crowded'} end

-- The rate of joins, as in take.lua. `joins` is when the bucket is full again; a time that is too late was written
-- before the clock was set back.
if not known then
  local now, size = now_us, JOIN_US * JOINS
  local full_at = tonumber(meta[11] or 0)
  if full_at < now or full_at > now + size then full_at = now end
  local early = full_at + JOIN_US - now - size
  if early > 0 then return {'limited', math.ceil(early / 1000)} end
  redis.call('HSET', META, 'joins', whole(full_at + JOIN_US))
end

if first and not repeated then
  if participant == 'User' then
    joined = connection
    redis.call('HSET', META, 'joined', connection)
  else
    support, support_name = ARGV[7], ARGV[8]
    redis.call('HSET', META, 'supportId', support, 'supportUserName', support_name, 'agent', ARGV[9])
  end
  append('Joined', ARGV[6])
end

redis.call('ZADD', CONNECTIONS, 'NX', whole(now_us), this)

local state = support ~= '' and 'active' or joined ~= '' and 'waiting' or 'open'
if state ~= meta[12] then redis.call('HSET', META, 'state', state) end
local ttl = state == 'waiting' and WAITING_TTL_MS or CHAT_TTL_MS
renew(ttl)

local offset, bytes = tonumber(redis.call('HGET', META, 'offset')), tonumber(meta[9] or 0)
local reply = {
  first and 'first' or 'again', support, support_name, state, ttl, full and 'full' or '',
  offset, messages, bytes,
}
-- An entry costs some 100 bytes besides its message.
if bytes + 100 * offset <= WHOLE_LOG_BYTES then
  for _, entry in ipairs(redis.call('XRANGE', LOG, '-', '+')) do
    reply[#reply + 1] = entry[2][1]
    reply[#reply + 1] = entry[2][2]
  end
end
return reply
