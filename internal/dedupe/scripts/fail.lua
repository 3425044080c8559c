-- Settle a job that will not be sent again by itself. Unpublished at first.
-- KEYS  1 the claim
-- ARGV  1 token  2 state: x dead, e expired  3 reason  4 details  5 maybe sent: keep, set or clear
--       6 retention, ms
-- Answers { "ok" } or { "lost" }. The holder may settle; so may the last holder of a waiting claim,
-- since nobody has had it since. A repeated call finds the claim settled with its token.
local h, err = open(KEYS[1])
if err then
  return err
end
if h.s == ARGV[2] and h.k == ARGV[1] then
  return { 'ok' }
end
if not (h.s == 'c' and h.t == ARGV[1]) and not (h.s == 'w' and h.k == ARGV[1]) then
  return { 'lost' }
end
local new = fresh(h)
new.s, new.k, new.r, new.u = ARGV[2], ARGV[1], ARGV[3], whole(millis())
new.h, new.o, new.a, new.m = h.h, h.o, h.a, mark(h.m, ARGV[5])
set_details(new, ARGV[4])
save(KEYS[1], h, new, ARGV[6])
return { 'ok' }
