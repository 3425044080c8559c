-- Give permits back that were not used.
-- KEYS  1 the pace
-- ARGV  1 microseconds per permit  2 permits
-- Answers { "1" }, or { "0" } where the bucket is full anyhow.
local at = redis.pcall('GET', KEYS[1])
if type(at) == 'table' and at.err then
  return at
end
if not at then
  return { '0' }
end
if not (#at <= 16 and string.match(at, '^%d+$')) then
  return redis.error_reply('BADPACE value is not one that this program writes')
end
local now = micros()
local full = math.max(now, tonumber(at) - tonumber(ARGV[1]) * tonumber(ARGV[2]))
redis.call('SET', KEYS[1], whole(full), 'PX', whole(math.ceil((full - now) / 1000) + 1000))
return { '1' }
