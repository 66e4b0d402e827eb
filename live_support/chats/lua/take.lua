-- Take one unit from a bucket (generic cell rate algorithm): the key holds when the bucket is full again.
-- KEYS  1 bucket
-- ARGV  1 µs in which one unit comes back  2 units that the bucket holds
-- Returns 0, or the ms until the next try: at most the interval of one unit.

local now, interval = now_us, tonumber(ARGV[1])
local size = interval * tonumber(ARGV[2])
local known = tonumber(redis.call('GET', KEYS[1]) or 0)
-- A bucket is full after its size at the latest. A later time was written before the clock was set back: by a little,
-- and the bucket counts as empty; by more, and it counts as full.
if known > now + 2 * size then known = now end
local full = math.min(math.max(now, known), now + size) + interval
local early = full - now - size
if early > 0 then return math.ceil(early / 1000) end

redis.call('SET', KEYS[1], whole(full), 'PX', whole(math.ceil((full - now) / 1000)))
return 0
