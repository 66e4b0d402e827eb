-- End a claim without a join: the user is back at the old place, for a new stay.
-- ARGV  1 userId  2 claim id: another one's claim is left alone  3 'overdue': only if its lease is over, else ''

local user = ARGV[1]
if redis.call('HGET', KEYS[6], user) ~= ARGV[2] then return end
-- The same agent may have claimed the same user again since a sweeper looked.
if ARGV[3] == 'overdue' and tonumber(redis.call('ZSCORE', KEYS[2], user)) > tonumber(whole(now_us() / 1000)) then return end
end_claim(user)
enter(user, redis.call('ZSCORE', KEYS[1], user))
changed()
