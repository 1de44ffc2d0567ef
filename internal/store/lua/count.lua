-- Replies with the size of each pool.
local reply = {1, now, since}
for i = 3, #KEYS do
  reply[i + 1] = size(KEYS[i])
end
return reply
