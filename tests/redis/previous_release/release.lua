-- End a claim without a join: the user is back at the old place, for a new stay. After a hold, nothing has happened.
-- ARGV  1 userId  2 claim id: another one's claim is left alone  3 'overdue': only if its lease is over, else ''

local user = ARGV[1]
if redis.call('HGET', KEYS[6], user) ~= ARGV[2] then return end
local lease = redis.call('ZSCORE', KEYS[2], user)
-- The same agent may have claimed the same user again since a sweeper looked.
if ARGV[3] == 'overdue' and lease and tonumber(lease) > tonumber(whole(now_us() / 1000)) then return end
end_claim(user)
local place = redis.call('ZSCORE', KEYS[1], user)
if is_hold(ARGV[2]) or not place then return end -- a place that was lost comes back with a touch
enter(user, place)
publish()
