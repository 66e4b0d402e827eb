-- Close the oldest connections of a participant, to make room for one that has joined. Each closing is an entry of the
-- log, so the process of that connection cannot miss it.
-- ARGV  1 connection  2 participant
-- MAX_CONNECTIONS of a participant.

local this, own = ARGV[2] .. ':' .. ARGV[1], {}
if not redis.call('ZSCORE', CONNECTIONS, this) then return end

for _, member in ipairs(redis.call('ZRANGE', CONNECTIONS, 0, -1)) do
  if string.sub(member, 1, #ARGV[2] + 1) == ARGV[2] .. ':' and member ~= this then own[#own + 1] = member end
end
for index = 1, #own + 1 - MAX_CONNECTIONS do
  redis.call('ZREM', CONNECTIONS, own[index])
  append('Replaced', string.sub(own[index], #ARGV[2] + 2))
end
