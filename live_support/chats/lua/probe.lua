-- Check what the user of this connection may do. Nothing changes. That it runs shows that scripts do, and TIME in them.
-- ARGV  commands with all their arguments, each as one text: Redis may crash on commands that are too short
-- Returns the commands that are not allowed.

local refused = {}
for _, text in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = text end
end
return refused
