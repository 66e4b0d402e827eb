-- A process says who is connected to it. This repairs whatever a crash, an outage or a loss of keys left undone: who
-- waits but is not in the list enters again at the old place, who has an agent leaves it.
-- ARGV  1 grace in ms  2 '', or `present` as it was for the only user when this was decided ('none': not there): if
--       somebody has touched since, nothing is done  then for each user: userId, chatId, place while waiting, else ''

if ARGV[2] ~= '' and ARGV[2] ~= (redis.call('ZSCORE', KEYS[3], ARGV[3]) or 'none') then return end

local users, times, until_ms = {}, {}, whole(now_us() / 1000 + ARGV[1])
for index = 3, #ARGV, 3 do
  users[#users + 1] = ARGV[index]
  times[#times + 1] = until_ms
  times[#times + 1] = ARGV[index]
end
local chats = redis.call('HMGET', KEYS[4], unpack(users))
local stays, waits = stays_of(users)
-- Who has a stay is in the list, unless a part of the one or the other was lost.
if redis.call('ZCARD', KEYS[1]) ~= redis.call('HLEN', KEYS[5]) then
  waits = redis.call('ZMSCORE', KEYS[1], unpack(users))
end
redis.call('ZADD', KEYS[3], unpack(times))
for number, user in ipairs(users) do
  local known, chat, place = chats[number], ARGV[3 * number + 1], ARGV[3 * number + 2]
  if known ~= chat then redis.call('HSET', KEYS[4], user, chat) end
  if place == '' then
    if waits[number] or stays[number] then leave(user) end
  elseif not waits[number] then
    -- Who is known and has no stay has an agent, of whom the process has not heard yet.
    if not known or stays[number] then enter(user, place) end
  elseif not stays[number] then
    enter(user, redis.call('ZSCORE', KEYS[1], user) or place)
  elseif known ~= chat then
    note(user) -- nobody could be shown the user
  end
end
publish()
