-- Put in front of the scripts of the join queue.
-- KEYS  1 waiting  2 leases  3 present  4 chats  5 stays  6 claims  7 version  8 changed (a channel)

-- The version starts at the clock, so that it never takes an old value again after the data was lost.
local function next_version()
  if redis.call('EXISTS', KEYS[7]) == 0 then
    redis.call('SET', KEYS[7], whole(now_us()))
  end
  return whole(redis.call('INCR', KEYS[7]))
end

local function changed()
  redis.call('PUBLISH', KEYS[8], next_version())
end

local function present(user, grace_ms)
  redis.call('ZADD', KEYS[3], whole(now_us() / 1000 + grace_ms), user)
end

-- Enter the list at a place. The stay tells agents' connections a return from what they have shown.
local function enter(user, place)
  redis.call('ZADD', KEYS[1], place, user)
  redis.call('HSET', KEYS[5], user, next_version())
end

local function end_claim(user)
  redis.call('ZREM', KEYS[2], user)
  redis.call('HDEL', KEYS[6], user)
end

-- Leave the list. Returns whether the user was in it.
local function leave(user)
  end_claim(user)
  redis.call('HDEL', KEYS[5], user)
  return redis.call('ZREM', KEYS[1], user) == 1
end

local function forget(user)
  redis.call('ZREM', KEYS[3], user)
  redis.call('HDEL', KEYS[4], user)
  return leave(user)
end
