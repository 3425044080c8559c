-- Read a hold and renew its lifetime.
-- KEYS  1 the hold
-- ARGV  1 lifetime, ms; "0" only reads
-- Answers {} where there is none, else the hold as holds.lua describes it.
local h, err = open_hold(KEYS[1])
if err then
  return err
end
if not h.since then
  return {}
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return describe({}, h, millis())
