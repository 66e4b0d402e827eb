-- Open a chat for a user, who enters the queue with the first Join. Repeated it does nothing: the counters must not be
-- reset.
-- ARGV  1 userId  2 username  3 token hash, or ''  4 chat TTL in ms

if redis.call('HEXISTS', META, 'userId') == 1 then return end
redis.call('HSET', META, 'userId', ARGV[1], 'username', ARGV[2], 'tokenHash', ARGV[3], 'offset', 0, 'state', 'open')
renew(ARGV[4])
