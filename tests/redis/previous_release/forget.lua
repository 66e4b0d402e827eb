-- The chat is gone: nothing of the user stays.
-- ARGV  1 userId

forget(ARGV[1])
publish()
