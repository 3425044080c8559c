-- Hold a merchant, or join the hold that there is.
-- KEYS  1 the hold
-- ARGV  1 kind  2 code  3 message  4 wait before the first probe, ms  5 longest wait, ms  6 lifetime, ms
-- Answers { "1" where this call made it, else "0", hold as holds.lua describes it }.
local h, err = open_hold(KEYS[1])
if err then
  return err
end
local now = millis()
if h.since then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return describe({ '0' }, h, now)
end
local new = {
  kind = ARGV[1], code = ARGV[2], message = ARGV[3], since = whole(now), first = ARGV[4], max = ARGV[5],
  probes = '0', next = whole(now + tonumber(ARGV[4])),
}
save(KEYS[1], h, new, ARGV[6])
return describe({ '1' }, new, now)
