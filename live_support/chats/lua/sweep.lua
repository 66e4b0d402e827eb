-- Forget users whose presence has ended, and find the claims whose lease is over.
-- ARGV  1 maximum of each  2 grace in ms  3 lease in ms
-- Returns userId, chatId, claim for each such claim: what becomes of it depends on the chat.

local now_ms = now_us / 1000

-- Both keys of each pair hold the same users, unless a part was lost. Comparing their sizes costs nothing.
local function both_know_as_many(zset, hash)
  return redis.call('ZCARD', zset) == redis.call('HLEN', hash)
end

local function known_to_one(users, zset, hash)
  local found = {}
  for _, user in ipairs(users) do
    if not redis.call('ZSCORE', zset, user) or redis.call('HEXISTS', hash, user) == 0 then
      found[#found + 1] = user
    end
  end
  return found
end

if not both_know_as_many(PRESENT, CHATS) then
  for _, user in ipairs(known_to_one(redis.call('HKEYS', CHATS), PRESENT, CHATS)) do
    present(user, ARGV[2]) -- otherwise they would never be forgotten
  end
end
if not both_know_as_many(WAITING, ENTRY_IDS) then
  for _, user in ipairs(known_to_one(redis.call('ZRANGE', WAITING, 0, -1), WAITING, ENTRY_IDS)) do
    enter(user, redis.call('ZSCORE', WAITING, user))
  end
end
if not both_know_as_many(LEASES, CLAIMS) then
  local users = redis.call('HKEYS', CLAIMS)
  for _, user in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do users[#users + 1] = user end
  for _, user in ipairs(known_to_one(users, LEASES, CLAIMS)) do
    end_claim(user)
    local queued_at = redis.call('ZSCORE', WAITING, user)
    if queued_at then enter(user, queued_at) end
  end
end

-- An earlier release forgets users but not their entries. While it runs, some of its users may have none.
if redis.call('HLEN', ENTRIES) > redis.call('HLEN', CHATS) then
  local users = redis.call('HKEYS', ENTRIES)
  for first = 1, #users, 1000 do
    local last = math.min(first + 999, #users)
    for index, chat in ipairs(redis.call('HMGET', CHATS, unpack(users, first, last))) do
      if not chat then redis.call('HDEL', ENTRIES, users[first + index - 1]) end
    end
  end
end

-- A time beyond what its setting allows was written before the clock was set back. Presence has some tolerance, since
-- processes with other settings renew it.
local function not_later_than(key, max_ms, allowed_ms)
  local late = redis.call('ZRANGE', key, '(' .. whole(now_ms + max_ms), '+inf', 'BYSCORE')
  for _, user in ipairs(late) do redis.call('ZADD', key, whole(now_ms + allowed_ms), user) end
end
not_later_than(PRESENT, 2 * ARGV[2], ARGV[2])
not_later_than(LEASES, ARGV[3], ARGV[3])

-- After a long pause in sweeping users could not be touched either: Redis was away, or its clock leapt. All get a new
-- grace.
local swept = tonumber(redis.call('GET', SWEPT)) or now_ms
redis.call('SET', SWEPT, whole(now_ms))
local pardon = now_ms - swept > math.max(5000, ARGV[2] / 2)
local limit = pardon and -1 or ARGV[1]
for _, user in ipairs(redis.call('ZRANGE', PRESENT, '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, limit)) do
  if pardon then present(user, ARGV[2]) else forget(user) end
end
publish()

local due = {}
for _, user in ipairs(redis.call('ZRANGE', LEASES, '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  due[#due + 1] = user
  due[#due + 1] = redis.call('HGET', CHATS, user) or ''
  due[#due + 1] = redis.call('HGET', CLAIMS, user) or ''
end
return due
