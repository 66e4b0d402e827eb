-- Remove every trace of a user whose chat has expired.
-- ARGV  1 userId

forget(ARGV[1])
publish()
