-- Claim a waiting user for one agent. Scripts run one after the other, so exactly one agent wins.
-- ARGV  1 userId  2 agent  3 connection: the same one may claim again  4 lease in ms
-- Returns 'won', 'claimed' (by another one, or served) or 'not_waiting'.

local user, claim = ARGV[1], claim_of(ARGV[2], ARGV[3])
local leased = redis.call('ZSCORE', LEASES, user)
if leased and redis.call('HGET', CLAIMS, user) == claim then return 'won' end

local state, queued_at = state_of(user)
if not state then return 'not_waiting' end
if state == 'served' or leased or not queued_at then return 'claimed' end

redis.call('ZADD', LEASES, whole(now_us / 1000 + ARGV[4]), user)
redis.call('HSET', CLAIMS, user, claim)
note(user)
publish()
return 'won'
