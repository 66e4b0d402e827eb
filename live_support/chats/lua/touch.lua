-- Renew the presence of users who are connected to a process. This also repairs the effects of a crash, an outage or
-- lost keys: a waiting user who is not in the list enters again at the old position, one who has an agent leaves it.
-- ARGV  1 grace in ms
--       2 '' or, when the only user has left, `present` as it was when this was decided ('none' if absent): if another
--         process has touched the user since, nothing is done
--       then for each user: userId, chatId, since when (µs) while waiting, else ''

if ARGV[2] ~= '' and ARGV[2] ~= (redis.call('ZSCORE', PRESENT, ARGV[3]) or 'none') then return end

local users, times, until_ms = {}, {}, whole(now_us / 1000 + ARGV[1])
for index = 3, #ARGV, 3 do
  users[#users + 1] = ARGV[index]
  times[#times + 1] = until_ms
  times[#times + 1] = ARGV[index]
end
local chats, entries = redis.call('HMGET', CHATS, unpack(users)), redis.call('HMGET', ENTRIES, unpack(users))
local ids, waits = entry_ids_of(users)
-- A user with an entry id is in the list, unless a part of the one or the other was lost.
if redis.call('ZCARD', WAITING) ~= redis.call('HLEN', ENTRY_IDS) then
  waits = redis.call('ZMSCORE', WAITING, unpack(users))
end
redis.call('ZADD', PRESENT, unpack(times))

for number, user in ipairs(users) do
  local known, chat, queued_at = chats[number], ARGV[3 * number + 1], ARGV[3 * number + 2]
  local id, is_in_list = ids[number], waits[number]
  if known ~= chat then redis.call('HSET', CHATS, user, chat) end
  if queued_at == '' and (is_in_list or id) then
    leave(user)
  elseif queued_at ~= '' and not is_in_list and (id or not known) then
    enter(user, queued_at)
  elseif queued_at ~= '' and is_in_list and not id then
    enter(user, redis.call('ZSCORE', WAITING, user) or queued_at)
  else
    -- Also a user with a time who is known and not in the list: that user has an agent, which the process does not know
    -- yet.
    if queued_at ~= '' and is_in_list and known ~= chat then note(user) end -- the user could not be shown
    -- The entry may have been lost, or an earlier release have changed the user without it.
    local head, stored = head_of(id and 'waiting' or 'served', chat, id or ''), entries[number]
    if stored ~= head .. ']' then
      local entry = entry_with(head, chat, stored)
      if entry ~= stored then redis.call('HSET', ENTRIES, user, entry) end
    end
  end
end
publish()
