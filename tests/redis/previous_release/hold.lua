-- An agent with a token joins a chat: the user must not be claimed by another agent, and is claimed if nobody has.
-- Nobody is told, and the user stays in the list: if the chat refuses the agent, nothing has happened.
-- ARGV  1 userId  2 chatId  3 agent  4 claim id, which begins with the agent and ends with ~  5 lease in ms
-- Returns 'won', 'own' (a claim of this agent's holds the user), 'free' (the user does not wait) or 'claimed'.

local user, agent = ARGV[1], ARGV[3] .. ':'
local now_ms = now_us() / 1000
local place = redis.call('ZSCORE', KEYS[1], user)
if redis.call('HGET', KEYS[4], user) ~= ARGV[2] or not place then return 'free' end

local claim, lease = redis.call('HGET', KEYS[6], user), redis.call('ZSCORE', KEYS[2], user)
if claim and claim == ARGV[4] then return 'won' end
if claim and lease and tonumber(lease) > now_ms then
  return string.sub(claim, 1, #agent) == agent and 'own' or 'claimed'
end
if (claim or lease) and not is_hold(claim) then
  -- It is over, and a sweeper would have returned the user.
  enter(user, place)
  publish()
end

redis.call('ZADD', KEYS[2], whole(now_ms + ARGV[5]), user)
redis.call('HSET', KEYS[6], user, ARGV[4])
return 'won'
