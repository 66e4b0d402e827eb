-- Open a chat for a user. Nobody waits yet: that begins with the User's first Join. Repeated it does nothing: what was
-- said meanwhile must not be counted from the beginning again.
-- ARGV  1 userId  2 username  3 token hash, or ''  4 chat TTL in ms

if redis.call('HEXISTS', KEYS[1], 'userId') == 1 then return end
redis.call('HSET', KEYS[1], 'userId', ARGV[1], 'username', ARGV[2], 'tokenHash', ARGV[3], 'offset', 0)
renew(ARGV[4])
