-- Take the probe of a held merchant: one at a time over all workers, at growing distances.
-- KEYS  1 the hold
-- ARGV  1 token  2 complaint  3 how long the probe may be out, ms
--       4 "1": also where the last probe was of this complaint
-- Answers { "none" }, or { "granted", "0", hold }, or { "denied", "1" where only the complaint is in
-- the way, else "0", hold }. A repeated call with the token of the probe that is out is granted again.
local h, err = open_hold(KEYS[1])
if err then
  return err
end
if not h.since then
  return { 'none' }
end
local now = millis()
if h.token == ARGV[1] and tonumber(h['until']) > now then
  return describe({ 'granted', '0' }, h, now)
end
if due(h, now) > 0 then
  return describe({ 'denied', '0' }, h, now)
end
if ARGV[2] ~= '' and h.last == ARGV[2] and ARGV[4] ~= '1' then
  return describe({ 'denied', '1' }, h, now)
end
local probes = tonumber(h.probes) + 1
local wait = math.min(tonumber(h.first) * 2 ^ math.min(probes, 40), tonumber(h.max))
redis.call('HSET', KEYS[1], 'probes', whole(probes), 'next', whole(now + wait), 'last', ARGV[2],
  'token', ARGV[1], 'until', whole(now + tonumber(ARGV[3])))
h.probes, h.next, h.last, h['until'] = whole(probes), whole(now + wait), ARGV[2], nil
return describe({ 'granted', '0' }, h, now)
