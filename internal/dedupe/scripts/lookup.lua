-- Tell what is known of a job. Writes nothing.
-- KEYS  1 the claim
-- Answers {} where there is none, else { state, attempts, maybe sent, log_id, reason, details,
-- published, source, content, updated at ms, wait ms until the lease ends or the job is due }.
local h, err = open(KEYS[1])
if err then
  return err
end
if not h.s then
  return {}
end
local till = tonumber(h.l or h.n or '0')
return {
  h.s, h.a, h.m or '0', h.g or '', h.r or '', details_of(h), h.p or '0', h.o, h.h, h.u,
  whole(math.max(0, till - millis())),
}
