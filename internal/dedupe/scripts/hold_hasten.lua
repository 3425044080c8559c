-- Make the next probe of a held merchant due now, and forget how many there were.
-- KEYS  1 the hold
-- ARGV  1 the kind of hold that is left as it is
-- Answers {} where there is no hold, else the hold as holds.lua describes it. A probe that is out stays
-- out.
local h, err = open_hold(KEYS[1])
if err then
  return err
end
if not h.since then
  return {}
end
local now = millis()
if h.kind ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'probes', '0', 'next', whole(now), 'last', '')
  h.probes, h.next, h.last = '0', whole(now), ''
end
return describe({}, h, now)
