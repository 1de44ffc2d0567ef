-- ARGV: too late, member, ttl in ms, the limit of each pool (-1: none). Replies with the size of each.
local reply, full = {1, now, since}, false
for i = 3, #KEYS do
  local n, limit = size(KEYS[i]), tonumber(ARGV[i + 1])
  reply[i + 1] = n
  if limit >= 0 and n >= limit and not redis.call('ZSCORE', KEYS[i], ARGV[2]) then
    full = true
  end
end
if full then
  reply[1] = 0
  return reply
end
redis.call('ZREM', KEYS[2], ARGV[2])
for i = 3, #KEYS do
  reply[i + 1] = reply[i + 1] + put(KEYS[i], ARGV[2], tonumber(ARGV[3]))
  keep(KEYS[i], tonumber(ARGV[3]))
end
return reply
