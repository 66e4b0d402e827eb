-- Read the waiting list, or its changes: the unclaimed users, longest waiting first.
-- ARGV  1 the version that the caller knows: the first element of an earlier reply, or ''
-- Returns nil if nothing has changed, or {the new version, 'all' | 'changes', userId, entry, waiting since (µs), userId,
-- entry, waiting since ...}. Among changes, a user with '' for an entry has left the list.
-- An entry that has lost a part is left out: touches and sweeps restore it.

local last = last_change()
local version = redis.call('GET', VERSION) or '0'
local complete = version == version_of(last)
local known = complete and last ~= '' and last or version
if known == ARGV[1] then return false end

local changes = {}
if complete and ARGV[1] ~= '' then
  changes = redis.call('XRANGE', CHANGES, ARGV[1], '+', 'COUNT', MAX_CHANGES + 1)
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
  local times = redis.call('ZMSCORE', WAITING, unpack(users))
  local leases = redis.call('ZMSCORE', LEASES, unpack(users))
  local claims = redis.call('HMGET', CLAIMS, unpack(users))
  local entries = entries_of(users)
  local reply = {known, 'changes'}
  for index, user in ipairs(users) do
    local claimed = leases[index] and not is_for_join(claims[index])
    local shown = times[index] and not claimed and entries[index]
    reply[#reply + 1] = user
    reply[#reply + 1] = shown and entries[index] or ''
    reply[#reply + 1] = shown and times[index] or ''
  end
  return reply
end

local claimed = {}
for _, user in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  claimed[user] = not is_for_join(redis.call('HGET', CLAIMS, user))
end

local reply = {known, 'all'}
local listed = redis.call('ZRANGE', WAITING, 0, -1, 'WITHSCORES')
for first = 1, #listed, 2000 do
  local users = {}
  for index = first, math.min(first + 1998, #listed), 2 do users[#users + 1] = listed[index] end
  local entries = entries_of(users)
  for index, user in ipairs(users) do
    if not claimed[user] and entries[index] then
      reply[#reply + 1] = user
      reply[#reply + 1] = entries[index]
      reply[#reply + 1] = listed[first + 2 * index - 1]
    end
  end
end
return reply
