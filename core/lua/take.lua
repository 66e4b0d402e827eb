-- Take one unit from a bucket (generic cell rate algorithm): the key holds when the bucket is full again.
-- KEYS  1 bucket
-- ARGV  1 µs in which one unit comes back  2 units that the bucket holds
-- Returns 0, or in how many ms to try again.

local now, interval = now_us(), tonumber(ARGV[1])
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0)) + interval
local early = full - now - interval * tonumber(ARGV[2])
if early > 0 then return math.ceil(early / 1000) end

redis.call('SET', KEYS[1], whole(full), 'PX', whole(math.ceil((full - now) / 1000)))
return 0
