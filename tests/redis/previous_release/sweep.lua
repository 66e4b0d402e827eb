-- Forget users whom no process has seen for the grace, and name the claims whose lease is over.
-- ARGV  1 how many of each at the most  2 grace in ms  3 lease in ms
-- Returns userId, chatId, claim id for each such claim: what becomes of it depends on the chat.

local now_ms = now_us() / 1000

-- Of each pair of keys both know the same users, unless one was lost, or a part of it. Counting costs nothing.
local function both_know_as_many(zset, hash)
  return redis.call('ZCARD', KEYS[zset]) == redis.call('HLEN', KEYS[hash])
end

local function known_to_one(users, zset, hash)
  local found = {}
  for _, user in ipairs(users) do
    if not redis.call('ZSCORE', KEYS[zset], user) or redis.call('HEXISTS', KEYS[hash], user) == 0 then
      found[#found + 1] = user
    end
  end
  return found
end

if not both_know_as_many(3, 4) then
  for _, user in ipairs(known_to_one(redis.call('HKEYS', KEYS[4]), 3, 4)) do
    present(user, ARGV[2]) -- or nobody would ever forget them
  end
end
if not both_know_as_many(1, 5) then
  for _, user in ipairs(known_to_one(redis.call('ZRANGE', KEYS[1], 0, -1), 1, 5)) do
    enter(user, redis.call('ZSCORE', KEYS[1], user))
  end
end
if not both_know_as_many(2, 6) then
  local users = redis.call('HKEYS', KEYS[6])
  for _, user in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do users[#users + 1] = user end
  for _, user in ipairs(known_to_one(users, 2, 6)) do
    end_claim(user)
    local place = redis.call('ZSCORE', KEYS[1], user)
    if place then enter(user, place) end
  end
end

-- No time is further away than its setting allows, unless the clock was set back. Processes with other settings are
-- left some room where they say it again and again.
local function not_later_than(key, most_ms, allowed_ms)
  local late = redis.call('ZRANGE', KEYS[key], '(' .. whole(now_ms + most_ms), '+inf', 'BYSCORE')
  for _, user in ipairs(late) do redis.call('ZADD', KEYS[key], whole(now_ms + allowed_ms), user) end
end
not_later_than(3, 2 * ARGV[2], ARGV[2])
not_later_than(2, ARGV[3], ARGV[3])

-- When nobody has swept for long, nobody could touch either: Redis was away, or its clock leapt. All get a new grace.
local swept = tonumber(redis.call('GET', KEYS[9])) or now_ms
redis.call('SET', KEYS[9], whole(now_ms))
local pardon = now_ms - swept > math.max(5000, ARGV[2] / 2)
local most = pardon and -1 or ARGV[1]
for _, user in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, most)) do
  if pardon then present(user, ARGV[2]) else forget(user) end
end
publish()

local due = {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', whole(now_ms), 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  due[#due + 1] = user
  due[#due + 1] = redis.call('HGET', KEYS[4], user) or ''
  due[#due + 1] = redis.call('HGET', KEYS[6], user) or ''
end
return due
