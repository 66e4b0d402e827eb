-- Read the waiting list, or what has changed in it: users whom nobody claimed, oldest place first.
-- ARGV  1 what the caller knows: the first of an earlier reply, or ''
-- Returns nil when nothing has changed, or {what the caller knows from now on, 'all' | 'changes', userId, chatId, stay,
-- place, userId, chatId, stay, place ...}. Of changes, those with '' for a chatId have left the list.
-- An entry of which something was lost is left out: touches and sweeps heal it.

local last = last_change()
local version = redis.call('GET', KEYS[7]) or '0'
local complete = version == version_of(last)
local known = complete and last ~= '' and last or version
if known == ARGV[1] then return false end

local changes = {}
if complete and ARGV[1] ~= '' then
  changes = redis.call('XRANGE', KEYS[8], ARGV[1], '+', 'COUNT', MOST_CHANGES + 1)
end

if #changes > 0 and changes[1][1] == ARGV[1] and changes[#changes][1] == last then
  local users, seen = {}, {}
  for index = 2, #changes do
    local user = changes[index][2][2]
    if not seen[user] then
      seen[user] = true
      users[#users + 1] = user
    end
  end
  local places = redis.call('ZMSCORE', KEYS[1], unpack(users))
  local leases = redis.call('ZMSCORE', KEYS[2], unpack(users))
  local claims = redis.call('HMGET', KEYS[6], unpack(users))
  local chats = redis.call('HMGET', KEYS[4], unpack(users))
  local stays = stays_of(users)
  local reply = {known, 'changes'}
  for index, user in ipairs(users) do
    local claimed = leases[index] and not is_hold(claims[index])
    local shown = places[index] and not claimed and chats[index] and stays[index]
    reply[#reply + 1] = user
    reply[#reply + 1] = shown and chats[index] or ''
    reply[#reply + 1] = shown and stays[index] or ''
    reply[#reply + 1] = shown and places[index] or ''
  end
  return reply
end

local claimed = {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  claimed[user] = not is_hold(redis.call('HGET', KEYS[6], user))
end

local reply = {known, 'all'}
local listed = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for first = 1, #listed, 2000 do
  local users = {}
  for index = first, math.min(first + 1998, #listed), 2 do users[#users + 1] = listed[index] end
  local chats = redis.call('HMGET', KEYS[4], unpack(users))
  local stays = stays_of(users)
  for index, user in ipairs(users) do
    if not claimed[user] and chats[index] and stays[index] then
      reply[#reply + 1] = user
      reply[#reply + 1] = chats[index]
      reply[#reply + 1] = stays[index]
      reply[#reply + 1] = listed[first + 2 * index - 1]
    end
  end
end
return reply
