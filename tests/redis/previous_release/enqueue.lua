-- Let a user wait, and publish the join request. Repeated while the user waits, it only returns the place.
-- ARGV  1 userId  2 chatId  3 join request as JSON  4 the channel Join  5 grace in ms  6 most waiting users
-- Returns the place in the queue as µs, 0 when an agent has joined meanwhile, or nil when the queue is full.

local user = ARGV[1]
local place = redis.call('ZSCORE', KEYS[1], user)
if place then
  if redis.call('HGET', KEYS[4], user) ~= ARGV[2] then
    redis.call('HSET', KEYS[4], user, ARGV[2])
    note(user) -- it was lost, and nobody could be shown the user
    publish()
  end
else
  -- Whose place was lost has still a stay.
  if redis.call('HEXISTS', KEYS[4], user) == 1 and redis.call('HEXISTS', KEYS[5], user) == 0 then return 0 end
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return false end
  place = whole(now_us())
  enter(user, place)
  redis.call('HSET', KEYS[4], user, ARGV[2])
  redis.call('PUBLISH', ARGV[4], ARGV[3])
end
present(user, tonumber(ARGV[5]))
return tonumber(place)
