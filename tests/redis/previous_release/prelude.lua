-- Put in front of every script. Redis's clock is the only one we trust. It is read once: a script is one moment,
-- but before Redis 7.2 TIME goes on while it runs.

local time = redis.call('TIME')

local function now_us()
  return time[1] * 1000000 + time[2]
end

-- Lua writes a large number as 1.7e+15, and so does what it is passed to: redis.call of 7.2.0 to 7.2.4 (redis#13113).
local function whole(number)
  return string.format('%d', number)
end

-- The last argument is taken off: it says until when (µs) somebody waits for the script. Later nothing is to happen,
-- for the sender was told that it failed, and its command has only been on its way for long.
if now_us() > tonumber(table.remove(ARGV)) then return redis.error_reply('OVERDUE nobody waits any more') end
