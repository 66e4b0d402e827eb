-- Included by the scripts of a chat.
-- KEYS  1 meta  2 log  3 connections  4 live (a channel)

local META, LOG, CONNECTIONS, LIVE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- A chat is open until the User's first Join, then waiting, and active as soon as a Support has joined. The field
-- `state` of META says so. Earlier releases write only `joined` and `supportId`, so these decide.

-- Whether the stored state is one of a later release. Such a chat counts as expired for this release.
local function is_of_later_release(state)
  return state and state ~= 'active' and state ~= 'waiting' and state ~= 'open'
end

-- Write the log's next entry and publish it as a hint, in one step: what is published is stored.
local function write_entry(offset, kind, body)
  redis.call('XADD', LOG, offset .. '-1', kind, body)
  redis.call('SPUBLISH', LIVE, offset .. ' ' .. kind .. ' ' .. body)
end

local function append(kind, body)
  write_entry(redis.call('HINCRBY', META, 'offset', 1), kind, body)
end

-- Let all keys of the chat expire in the same millisecond.
local function renew(ttl_ms)
  local ends = whole(math.floor(now_us / 1000) + ttl_ms)
  for index = 1, 3 do
    redis.call('PEXPIREAT', KEYS[index], ends)
  end
end
