-- An agent with a token joins a chat: the user must not be claimed by another agent, and is claimed if nobody has.
-- ARGV  1 userId  2 chatId  3 agent  4 claim id, which begins with the agent  5 lease in ms
-- Returns 'won', 'own' (a claim of this agent's holds the user), 'free' (the user does not wait) or 'claimed'.

local user, agent = ARGV[1], ARGV[3] .. ':'
local now_ms = now_us() / 1000
if redis.call('HGET', KEYS[4], user) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[1], user) then return 'free' end

local claim, lease = redis.call('HGET', KEYS[6], user), redis.call('ZSCORE', KEYS[2], user)
if claim == ARGV[4] then return 'won' end
if claim and lease and tonumber(lease) > now_ms then
  return string.sub(claim, 1, #agent) == agent and 'own' or 'claimed'
end

redis.call('ZADD', KEYS[2], whole(now_ms + ARGV[5]), user)
redis.call('HSET', KEYS[6], user, ARGV[4])
changed()
return 'won'
