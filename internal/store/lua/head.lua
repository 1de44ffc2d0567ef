-- Runs before each script. KEYS[1] is since, KEYS[2] ended, the others are pools; ARGV[1] is when the script comes too late.
-- Replies begin with 1 for done, 0 for refused or -1 for too late, the time and since.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  return {-1, now, 0}
end
local since = tonumber(redis.call('GET', KEYS[1]) or '')
if not since then
  since = now
  redis.call('SET', KEYS[1], string.format('%.0f', now))
end

-- size is how many members a set has, without those whose time is over.
local function size(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  return redis.call('ZCARD', key)
end

-- put returns 1 for a member that is new.
local function put(key, member, ttl)
  return redis.call('ZADD', key, string.format('%.0f', now + ttl), member)
end

-- keep has a key outlive its members, and not for ever.
local function keep(key, ttl)
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, string.format('%.0f', ttl))
  end
end
