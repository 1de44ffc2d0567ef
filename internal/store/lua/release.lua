-- ARGV: too late, then for each lease: member, for how many ms its end is to be remembered (0: not), how many pools, their
-- places in KEYS.
local i, longest = 2, 0
size(KEYS[2])
while i <= #ARGV do
  local member, ttl, pools = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  for j = i + 3, i + 2 + pools do
    redis.call('ZREM', KEYS[tonumber(ARGV[j])], member)
  end
  if ttl > 0 then
    put(KEYS[2], member, ttl)
    longest = math.max(longest, ttl)
  end
  i = i + 3 + pools
end
if longest > 0 then
  keep(KEYS[2], longest)
end
return {1, now, since}
