-- Give a claim back until its next attempt is due.
-- KEYS  1 the claim
-- ARGV  1 token  2 delay, ms  3 attempts to give back  4 maybe sent: keep, set or clear  5 retention, ms
-- Answers { "ok" } or { "lost" }. A repeated call finds its token as the last one and changes nothing.
local h, err = open(KEYS[1])
if err then
  return err
end
if h.s == 'w' and h.k == ARGV[1] then
  return { 'ok' }
end
if h.s ~= 'c' or h.t ~= ARGV[1] then
  return { 'lost' }
end
local now = millis()
local new = copy(h)
new.s, new.n, new.k, new.u = 'w', whole(now + tonumber(ARGV[2])), ARGV[1], whole(now)
new.a = whole(math.max(0, tonumber(h.a) - tonumber(ARGV[3])))
new.m = mark(h.m, ARGV[4])
new.t, new.l, new.f = nil, nil, nil
save(KEYS[1], h, new, ARGV[5])
return { 'ok' }
