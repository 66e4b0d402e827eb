-- Ask what the user of this connection may do. Nothing happens. That this runs tells that scripts do, and TIME in them.
-- ARGV  commands, with all that belongs to them, each as one text: Redis may crash on those that are too short
-- Returns those that are not allowed.

local refused = {}
for _, text in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = text end
end
return refused
