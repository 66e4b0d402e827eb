-- Put in front of every script. Redis's clock is the only one we trust. It is read once: a script is one moment,
-- but before Redis 7.2 TIME goes on while it runs.

local time = redis.call('TIME')

local function now_us()
  return time[1] * 1000000 + time[2]
end

-- Where a number becomes text: Lua would write a large one as 1.7e+15. What is passed to redis.call is written whole.
local function whole(number)
  return string.format('%d', number)
end
