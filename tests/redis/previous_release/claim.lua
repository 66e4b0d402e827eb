-- Let one agent win a waiting user. Scripts run one after the other, so exactly one does.
-- ARGV  1 userId  2 claim id: the same one may claim again  3 lease in ms
-- Returns 'won', 'claimed' or 'not_waiting'.

local user = ARGV[1]
local leased = redis.call('ZSCORE', KEYS[2], user)
if leased and redis.call('HGET', KEYS[6], user) == ARGV[2] then return 'won' end
if redis.call('HEXISTS', KEYS[4], user) == 0 then return 'not_waiting' end
if leased or not redis.call('ZSCORE', KEYS[1], user) then return 'claimed' end

redis.call('ZADD', KEYS[2], whole(now_us() / 1000 + ARGV[3]), user)
redis.call('HSET', KEYS[6], user, ARGV[2])
note(user)
publish()
return 'won'
