-- Enter a user into the queue, and publish the join request. Repeated while the user waits, it only returns the time.
-- ARGV  1 userId  2 chatId  3 join request as JSON  4 the channel Join  5 grace in ms  6 maximum of waiting users
-- Returns since when (µs) the user waits, 0 when an agent has joined meanwhile, or nil when the queue is full.

local user = ARGV[1]
local state, queued_at = state_of(user)
if queued_at then
  if redis.call('HGET', CHATS, user) ~= ARGV[2] then
    redis.call('HSET', CHATS, user, ARGV[2])
    save_entry(user, 'waiting', redis.call('HGET', ENTRY_IDS, user) or '')
    note(user) -- the chat was lost, so the user could not be shown
    publish()
  end
else
  if state == 'served' then return 0 end
  if redis.call('ZCARD', WAITING) >= tonumber(ARGV[6]) then return false end
  queued_at = whole(now_us)
  redis.call('HSET', CHATS, user, ARGV[2])
  enter(user, queued_at)
  redis.call('PUBLISH', ARGV[4], ARGV[3])
end
present(user, tonumber(ARGV[5]))
return tonumber(queued_at)
