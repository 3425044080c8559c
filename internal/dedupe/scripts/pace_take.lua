-- Take permits of a merchant's shared pace: a token bucket, kept as the one moment (in microseconds)
-- at which it is full again (GCRA).
-- KEYS  1 the pace
-- ARGV  1 microseconds per permit  2 permits wanted  3 burst
-- Answers { granted, microseconds until one more can be had; 0 where all were granted }.
local at = redis.pcall('GET', KEYS[1])
if type(at) == 'table' and at.err then
  return at
end
if at and not (#at <= 16 and string.match(at, '^%d+$')) then
  return redis.error_reply('BADPACE value is not one that this program writes')
end
local per, want, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = micros()
-- Never fuller than full, and never emptier than empty: the latter after the rate was raised or the
-- server's clock was set back.
local full = math.min(math.max(tonumber(at or '0'), now), now + burst * per)
-- The half microsecond takes up what rounding left.
local granted = math.min(want, math.floor((now + burst * per - full + 0.5) / per))
if granted > 0 then
  full = full + granted * per
  redis.call('SET', KEYS[1], whole(full), 'PX', whole(math.ceil((full - now) / 1000) + 1000))
end
if granted == want then
  return { whole(granted), '0' }
end
return { whole(granted), whole(math.max(1, math.ceil(full + per - now - burst * per))) }
