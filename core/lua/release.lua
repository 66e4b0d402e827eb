-- End a claim without a join: the user is back at the old place.
-- ARGV  1 userId  2 claim id: another one's claim is left alone
--       3 'overdue': only if its lease is over; 'untold': it was a hold's, and the stay goes on; or ''

local user = ARGV[1]
if redis.call('HGET', KEYS[6], user) ~= ARGV[2] then return end
local lease = redis.call('ZSCORE', KEYS[2], user)
-- The same agent may have claimed the same user again since a sweeper looked.
if ARGV[3] == 'overdue' and lease and tonumber(lease) > tonumber(whole(now_us() / 1000)) then return end
end_claim(user)
local place = redis.call('ZSCORE', KEYS[1], user)
if not place then return end -- it was lost, and a touch brings it back
if ARGV[3] == 'untold' then
  note(user) -- for whoever has read the whole list meanwhile
else
  enter(user, place)
end
publish()
