-- A process says who is connected to it. This repairs whatever a crash or an outage left undone: a user who
-- waits but is not known enters again at the old place, one who has an agent leaves the list.
-- ARGV  1 grace in ms, then for each user: userId, chatId, place while waiting, else ''

local moved = false
for index = 2, #ARGV, 3 do
  local user, chat, place = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local known = redis.call('HEXISTS', KEYS[4], user) == 1
  if not known then redis.call('HSET', KEYS[4], user, chat) end
  if place == '' then
    moved = leave(user) or moved
  elseif not known then
    enter(user, place)
    moved = true
  end
  present(user, tonumber(ARGV[1]))
end
if moved then changed() end
