-- Read the waiting list, unless the caller has it: users whom nobody claimed, oldest place first.
-- ARGV  1 the caller's version, or ''
-- Returns nil, or {version, userId, chatId, stay, userId, chatId, stay ...}

local version = redis.call('GET', KEYS[7]) or '0'
if version == ARGV[1] then return false end

local claimed = {}
for _, user in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do claimed[user] = true end

local reply = {version}
for _, user in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not claimed[user] then
    reply[#reply + 1] = user
    reply[#reply + 1] = redis.call('HGET', KEYS[4], user)
    reply[#reply + 1] = redis.call('HGET', KEYS[5], user)
  end
end
return reply
