-- A Support has joined: the user leaves the list, and counts as served as long as somebody is in the chat.
-- ARGV  1 userId  2 chatId  3 grace in ms

local user = ARGV[1]
redis.call('HSET', CHATS, user, ARGV[2])
present(user, tonumber(ARGV[3]))
leave(user)
publish()
