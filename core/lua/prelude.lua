-- Put in front of every script. Time stands still while a script runs, and it is the only clock we trust.

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Lua would write a large number as 1.7e+15.
local function whole(number)
  return string.format('%.0f', number)
end
