-- ARGV: too late, then for each lease: member, ttl in ms, how many pools, their places in KEYS. Replies with the numbers of
-- the leases, from 1, whose session has ended: they are not renewed.
local reply, i, n, longest = {1, now, since}, 2, 0, {}
size(KEYS[2])
while i <= #ARGV do
  local member, ttl, pools = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  n = n + 1
  if redis.call('ZSCORE', KEYS[2], member) then
    reply[#reply + 1] = n
  else
    for j = i + 3, i + 2 + pools do
      local key = KEYS[tonumber(ARGV[j])]
      put(key, member, ttl)
      longest[key] = math.max(longest[key] or 0, ttl)
    end
  end
  i = i + 3 + pools
end
for key, ttl in pairs(longest) do
  keep(key, ttl)
end
return reply
