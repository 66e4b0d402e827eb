-- Put in front of the scripts of the join queue.
-- KEYS  1 waiting  2 leases  3 present  4 chats  5 stays  6 claims  7 version  8 changes  9 swept
--       10 changed (a channel)

-- `changes` is a stream of who has changed, oldest first: `<version>-<clock>` -> userId. A reader who finds there the
-- last change that it knows needs only what came later; any other one reads the whole list. So the stream may be cut,
-- lost, or older than what was read from it: no number that comes again is taken for the same change, since the clock
-- is part of its name.
local MOST_CHANGES = 1000

-- The last change, or '' when there is none. A release that knows no stream changes the list without it: then `version`
-- is another one than that of the last change, and what the stream holds has a gap.
local function last_change()
  local last = redis.call('XREVRANGE', KEYS[8], '+', '-', 'COUNT', 1)[1]
  return last and last[1] or ''
end

local function version_of(change)
  return string.match(change, '^%d+') or '0'
end

local published

-- Note that a user has changed; returns the version. It is never lower than the clock: after a loss of data it is higher
-- than what was lost. Nor does it fall when the clock is set back.
local function note(user)
  local version, last = redis.call('GET', KEYS[7]) or '0', version_of(last_change())
  if version ~= last then redis.call('DEL', KEYS[8]) end
  published = whole(math.max(now_us(), (tonumber(version) or 0) + 1, tonumber(last) + 1))
  redis.call('SET', KEYS[7], published)
  local change = published .. '-' .. whole(now_us())
  redis.call('XADD', KEYS[8], 'MAXLEN', MOST_CHANGES, change, 'user', user)
  return published
end

-- Tell whoever reads the list, once a script, if anything was noted.
local function publish()
  if published then redis.call('PUBLISH', KEYS[10], published) end
end

local function present(user, grace_ms)
  redis.call('ZADD', KEYS[3], whole(now_us() / 1000 + grace_ms), user)
end

-- Enter the list at a place. The stay tells agents' connections a return from what they have shown.
local function enter(user, place)
  redis.call('ZADD', KEYS[1], place, user)
  redis.call('HSET', KEYS[5], user, note(user))
end

-- The stays of users, false where there is none, or what is no number; and as they are stored.
local function stays_of(users)
  local stored, stays = redis.call('HMGET', KEYS[5], unpack(users)), {}
  for index, stay in ipairs(stored) do stays[index] = stay and string.match(stay, '^%d+$') and stay or false end
  return stays, stored
end

-- Whether a claim is a hold's, of which nobody is told: an agent is about to join, and may be refused.
local function is_hold(claim)
  return claim and string.sub(claim, -1) == '~'
end

local function end_claim(user)
  redis.call('ZREM', KEYS[2], user)
  redis.call('HDEL', KEYS[6], user)
end

-- Leave the list.
local function leave(user)
  end_claim(user)
  -- Both, of which one may have been lost: readers may have the user all the same.
  local stayed, waited = redis.call('HDEL', KEYS[5], user), redis.call('ZREM', KEYS[1], user)
  if stayed == 1 or waited == 1 then note(user) end
end

local function forget(user)
  redis.call('ZREM', KEYS[3], user)
  redis.call('HDEL', KEYS[4], user)
  leave(user)
end
