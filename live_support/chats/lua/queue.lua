-- Included by the scripts of the join queue.
-- KEYS  1 waiting  2 leases  3 present  4 chats  5 stays  6 claims  7 version  8 changes  9 swept
--       10 entries  11 changed (a channel)

local WAITING, LEASES, PRESENT, CHATS, ENTRY_IDS, CLAIMS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local VERSION, CHANGES, SWEPT, ENTRIES, CHANGED = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]

-- Changes of the list.

-- CHANGES is a stream of the users that have changed, oldest first: `<version>-<clock>` -> userId. A reader that finds
-- there the last change it knows needs only the later ones; any other reader reads the whole list. So the stream may be
-- cut, lost, or older than what was read from it: the clock is part of a change's name, so that a version that comes
-- again is not taken for the same change.
local MAX_CHANGES = 1000

-- The last change, or '' when there is none. A release that knows no stream changes the list without it: then VERSION
-- is not that of the last change, and the stream has a gap.
local function last_change()
  local last = redis.call('XREVRANGE', CHANGES, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or ''
end

local function version_of(change)
  return string.match(change, '^%d+') or '0'
end

local noted

-- Note that a user has changed; returns the version. It is never lower than the clock: after a loss of data it is
-- higher than what was lost. Nor does it fall when the clock is set back.
local function note(user)
  local version, last = redis.call('GET', VERSION) or '0', version_of(last_change())
  if version ~= last then redis.call('DEL', CHANGES) end
  noted = whole(math.max(now_us, (tonumber(version) or 0) + 1, tonumber(last) + 1))
  redis.call('SET', VERSION, noted)
  redis.call('XADD', CHANGES, 'MAXLEN', MAX_CHANGES, noted .. '-' .. whole(now_us), 'user', user)
  return noted
end

-- Notify the readers of the list, once per script, if any change was noted.
local function publish()
  if noted then redis.call('PUBLISH', CHANGED, noted) end
end

-- The state of a user.
--
-- A user is absent, waiting or served (a Support has joined). A claim is a lease on a waiting user, in keys of its own.
-- ENTRIES holds the state as a JSON array, ["waiting", chatId, entryId] or ["served", chatId, ""]. The entry id is new
-- each time the user enters the list. A later release may append elements to the array: they are kept as long as the
-- chat is the same.
-- Earlier releases do not know ENTRIES, and may have changed a user since. So their data is written as well, and
-- decides: a user in CHATS is waiting with a time in WAITING or an id in ENTRY_IDS, and is served with neither.

-- The state, nil when absent, and since when (µs) the user has waited, false when that was lost.
local function state_of(user)
  local state, queued_at = nil, redis.call('ZSCORE', WAITING, user)
  if redis.call('HEXISTS', CHATS, user) == 1 then
    state = (queued_at or redis.call('HEXISTS', ENTRY_IDS, user) == 1) and 'waiting' or 'served'
  end
  return state, queued_at
end

-- The part of an entry that every release knows, without the closing bracket.
local function head_of(state, chat, entry_id)
  return '["' .. state .. '","' .. chat .. '","' .. entry_id .. '"'
end

-- The entry with this head, and the further elements of a stored one.
local function entry_with(head, chat, stored)
  local same, more = string.match(stored or '', '^%["[^"]+","(%w+)","%d*"(.*)%]$')
  if same ~= chat or (more ~= '' and not pcall(cjson.decode, stored)) then more = '' end
  return head .. more .. ']'
end

local function save_entry(user, state, entry_id)
  local chat = redis.call('HGET', CHATS, user)
  if chat then
    local stored = redis.call('HGET', ENTRIES, user)
    redis.call('HSET', ENTRIES, user, entry_with(head_of(state, chat, entry_id), chat, stored))
  else
    redis.call('HDEL', ENTRIES, user)
  end
end

-- The entry ids of users, false where there is none or it is not a number; and as they are stored.
local function entry_ids_of(users)
  local stored, ids = redis.call('HMGET', ENTRY_IDS, unpack(users)), {}
  for index, id in ipairs(stored) do ids[index] = id and string.match(id, '^%d+$') and id or false end
  return ids, stored
end

-- The entries of waiting users, false where a part of one was lost.
local function entries_of(users)
  local chats, ids = redis.call('HMGET', CHATS, unpack(users)), entry_ids_of(users)
  local stored, entries = redis.call('HMGET', ENTRIES, unpack(users)), {}
  for index, chat in ipairs(chats) do
    local known = ids[index] and chat and string.match(chat, '^%w+$')
    entries[index] = known and entry_with(head_of('waiting', chat, ids[index]), chat, stored[index])
  end
  return entries
end

-- Claims.

-- A claim is stored as `<agent>:<connection>`, with a ~ at the end while the agent joins the chat. Such a claim changes
-- nothing in the list, because the chat may refuse the agent.
local function claim_of(agent, connection, for_join)
  return agent .. ':' .. connection .. (for_join and '~' or '')
end

local function is_of_agent(claim, agent)
  return string.sub(claim, 1, #agent + 1) == agent .. ':'
end

local function is_for_join(claim)
  return claim and string.sub(claim, -1) == '~'
end

local function end_claim(user)
  redis.call('ZREM', LEASES, user)
  redis.call('HDEL', CLAIMS, user)
end

-- Transitions.

-- Count the user as connected until the grace is over.
local function present(user, grace_ms)
  redis.call('ZADD', PRESENT, whole(now_us / 1000 + grace_ms), user)
end

-- Enter the list: absent or waiting -> waiting. The new entry id shows agents' connections that the user has returned.
-- The user's chat is in CHATS already.
local function enter(user, queued_at)
  redis.call('ZADD', WAITING, queued_at, user)
  local entry_id = note(user)
  redis.call('HSET', ENTRY_IDS, user, entry_id)
  save_entry(user, 'waiting', entry_id)
end

-- End a claim without a join: the user is back at the old position, with a new entry. A claim for a join has not
-- changed the list.
local function give_back(user, claim)
  end_claim(user)
  local queued_at = redis.call('ZSCORE', WAITING, user)
  if queued_at and not is_for_join(claim) then enter(user, queued_at) end -- a lost time comes back with a touch
end

-- Leave the list: waiting -> served, or absent if CHATS no longer has the user.
local function leave(user)
  end_claim(user)
  -- Both, since one may have been lost while readers still have the user.
  local had_id, had_time = redis.call('HDEL', ENTRY_IDS, user), redis.call('ZREM', WAITING, user)
  if had_id == 1 or had_time == 1 then note(user) end
  save_entry(user, 'served', '')
end

local function forget(user)
  redis.call('ZREM', PRESENT, user)
  redis.call('HDEL', CHATS, user)
  leave(user)
end
