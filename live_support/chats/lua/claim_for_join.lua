-- Claim a user for an agent with a token who is about to join the chat, unless another agent's claim holds the user.
-- The list does not change: if the chat refuses the agent, the claim is undone without a trace.
-- ARGV  1 userId  2 chatId  3 agent  4 connection  5 lease in ms
-- Returns 'won', 'own' (an earlier claim of this agent holds the user), 'free' (the user does not wait) or 'claimed'.

local user, agent, own = ARGV[1], ARGV[3], claim_of(ARGV[3], ARGV[4], true)
local now_ms = now_us / 1000
local queued_at = redis.call('ZSCORE', WAITING, user)
if redis.call('HGET', CHATS, user) ~= ARGV[2] or not queued_at then return 'free' end

local claim, lease = redis.call('HGET', CLAIMS, user), redis.call('ZSCORE', LEASES, user)
if claim == own then return 'won' end
if claim and lease and tonumber(lease) > now_ms then return is_of_agent(claim, agent) and 'own' or 'claimed' end
if (claim or lease) and not is_for_join(claim) then
  -- The lease is over, and a sweeper would have given the user back.
  enter(user, queued_at)
  publish()
end

redis.call('ZADD', LEASES, whole(now_ms + ARGV[5]), user)
redis.call('HSET', CLAIMS, user, own)
return 'won'
