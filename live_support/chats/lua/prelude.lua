-- Included by every script. Redis's clock is the only one that counts. It is read once, so that a script is one moment:
-- before Redis 7.2, TIME goes on while a script runs.

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

-- Lua formats a large number as 1.7e+15, and so does redis.call of 7.2.0 to 7.2.4 with its arguments (redis#13113).
local function whole(number)
  return string.format('%d', number)
end

-- The last argument is the deadline (µs), which is removed. After it nothing may happen: the sender was told that the
-- script failed, and the command was only delayed.
if now_us > tonumber(table.remove(ARGV)) then return redis.error_reply('OVERDUE nobody waits any more') end
