-- Let the oldest connections of a participant make room for one that has joined. Their end is an entry of the log, so
-- their processes cannot miss it.
-- ARGV  1 connection  2 participant
-- CONNECTIONS of a participant.

local this, own = ARGV[2] .. ':' .. ARGV[1], {}
if not redis.call('ZSCORE', KEYS[3], this) then return end

for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  if string.sub(member, 1, #ARGV[2] + 1) == ARGV[2] .. ':' and member ~= this then own[#own + 1] = member end
end
for index = 1, #own + 1 - CONNECTIONS do
  redis.call('ZREM', KEYS[3], own[index])
  append('Replaced', string.sub(own[index], #ARGV[2] + 2))
end
