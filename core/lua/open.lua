-- Open a chat for a user. Nobody waits yet: that begins with the User's first Join.
-- ARGV  1 userId  2 username  3 token hash, or ''  4 chat TTL in ms

redis.call('HSET', KEYS[1], 'userId', ARGV[1], 'username', ARGV[2], 'tokenHash', ARGV[3], 'offset', 0)
renew(ARGV[4])
