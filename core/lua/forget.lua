-- The chat is gone: nothing of the user stays.
-- ARGV  1 userId

if forget(ARGV[1]) then changed() end
