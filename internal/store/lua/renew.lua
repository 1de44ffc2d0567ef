-- ARGV: too late, then for each lease: member, ttl in ms, how many pools, their places in KEYS. Replies with the numbers of
-- the leases, from 1, whose session has ended: they are not renewed.
local reply, i, n = {1, now, since}, 2, 0
size(KEYS[2])
while i <= #ARGV do
  local member, ttl, pools = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  n = n + 1
  if redis.call('ZSCORE', KEYS[2], member) then
    reply[#reply + 1] = n
  else
    for j = i + 3, i + 2 + pools do
      put(KEYS[tonumber(ARGV[j])], member, ttl)
    end
  end
  i = i + 3 + pools
end
return reply
