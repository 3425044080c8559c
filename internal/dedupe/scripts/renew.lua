-- Renew a lease. Reads two fields only: it is the script that runs most.
-- KEYS  1 the claim
-- ARGV  1 token  2 lease, ms  3 retention, ms
-- Answers { "ok" } or { "lost" }. A lease that has run out and that nobody took is held again.
local held = redis.pcall('HMGET', KEYS[1], 's', 't')
if held.err then
  return held
end
if held[1] ~= 'c' or held[2] ~= ARGV[1] then
  return { 'lost' }
end
local now = millis()
redis.call('HSET', KEYS[1], 'l', whole(now + tonumber(ARGV[2])), 'u', whole(now))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 'ok' }
