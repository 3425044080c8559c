-- Write a further attempt to a claim before it is made, and renew the lease.
-- KEYS  1 the claim
-- ARGV  1 token  2 attempts as the caller knows them  3 lease, ms  4 retention, ms
-- Answers { "ok", attempts } or { "lost" }. A repeated call finds the attempt written and adds none.
local h, err = open(KEYS[1])
if err then
  return err
end
if h.s ~= 'c' or h.t ~= ARGV[1] then
  return { 'lost' }
end
local attempts, known = tonumber(h.a), tonumber(ARGV[2])
if attempts ~= known and attempts ~= known + 1 then
  return { 'lost' }
end
local now = millis()
local new = copy(h)
new.a, new.l, new.u, new.f = whole(known + 1), whole(now + tonumber(ARGV[3])), whole(now), nil
save(KEYS[1], h, new, ARGV[4])
return { 'ok', new.a }
