-- Keep what was worked out of a merchant's answers, unless another worker was first.
-- KEYS  1 the pace
-- ARGV  1 the version that it was worked out from  2 learned  3 limit, calls/s or 0  4 epoch
--       5 whether the epoch is a new one  6 whether the permits granted so far are of no use
--       counted: 7 accepted  8 refused  9 accepted, of any epoch;  10 retention, ms
-- Answers { "1" }, or { "0" } where another was first.
local raw = redis.pcall('HMGET', KEYS[1], 'v', 'a', 'r', 't', 'w', 'f')
if raw.err then
  return raw
end
local function number(i)
  return tonumber(raw[i] or nil) or 0
end
if number(1) ~= tonumber(ARGV[1]) then
  return { '0' }
end
local now = micros()
local accepted, refused, row = number(2) - ARGV[7], number(3) - ARGV[8], number(5)
if ARGV[5] == '1' then
  accepted, refused, row = 0, 0, 0
end
local free = number(6)
if ARGV[6] == '1' then
  free = now
end
redis.call('HSET', KEYS[1], 'v', whole(number(1) + 1), 's', ARGV[2], 'm', ARGV[3], 'e', ARGV[4],
  'a', whole(math.max(0, accepted)), 'r', whole(math.max(0, refused)), 'w', whole(row),
  't', whole(math.max(0, number(4) - ARGV[9])), 'h', '0', 'q', '0', 'f', whole(free), 'c', whole(now))
redis.call('PEXPIRE', KEYS[1], ARGV[10])
return { '1' }
