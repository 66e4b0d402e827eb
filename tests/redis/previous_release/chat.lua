-- Put in front of the scripts of a chat.
-- KEYS  1 meta  2 log  3 connections  4 live (a channel)

-- Write the log's next entry and hint at it, in one step: what is published is stored.
local function tell(offset, kind, body)
  redis.call('XADD', KEYS[2], offset .. '-1', kind, body)
  redis.call('SPUBLISH', KEYS[4], offset .. ' ' .. kind .. ' ' .. body)
end

local function append(kind, body)
  tell(redis.call('HINCRBY', KEYS[1], 'offset', 1), kind, body)
end

-- Everything of a chat ends at the same moment.
local function renew(ttl_ms)
  local ends = whole(math.floor(now_us() / 1000) + ttl_ms)
  for index = 1, 3 do
    redis.call('PEXPIREAT', KEYS[index], ends)
  end
end
