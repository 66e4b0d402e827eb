-- End a claim whose lease is over. Another claim is left alone, and so is this one if its agent has renewed it.
-- ARGV  1 userId  2 claim as `sweep` has found it

local user, claim = ARGV[1], ARGV[2]
if redis.call('HGET', CLAIMS, user) ~= claim then return end
local lease = redis.call('ZSCORE', LEASES, user)
if lease and tonumber(lease) > tonumber(whole(now_us / 1000)) then return end
give_back(user, claim)
publish()
