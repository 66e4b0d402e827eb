-- Forget users whom no process has seen for the grace, and name the claims whose lease is over.
-- ARGV  1 how many of each at the most
-- Returns userId, chatId, claim id for each such claim: what becomes of it depends on the chat.

local now_ms = whole(now_us() / 1000)
local moved = false
for _, user in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  moved = forget(user) or moved
end
if moved then changed() end

local due = {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  due[#due + 1] = user
  due[#due + 1] = redis.call('HGET', KEYS[4], user) or ''
  due[#due + 1] = redis.call('HGET', KEYS[6], user) or ''
end
return due
