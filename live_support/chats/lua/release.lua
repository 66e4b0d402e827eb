-- End an agent's claim without a join. A claim of another agent is left alone.
-- ARGV  1 userId  2 agent  3 connection  4 'join' for a claim for a join, else ''

local user, claim = ARGV[1], claim_of(ARGV[2], ARGV[3], ARGV[4] == 'join')
if redis.call('HGET', CLAIMS, user) ~= claim then return end
give_back(user, claim)
publish()
