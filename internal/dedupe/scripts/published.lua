-- Note that a record's outcome has been published.
-- KEYS  1 the claim
-- ARGV  1 source  2 retention, ms
-- Answers { "1" } where the record is done, dead or expired, else { "0" } and nothing is written.
local h, err = open(KEYS[1])
if err then
  return err
end
local new = copy(h)
local before = past(h, ARGV[1])
if before then
  if before.s == 'C' then
    return { '0' }
  end
  before.p = '1'
  set_past(new, ARGV[1], before)
elseif h.o == ARGV[1] and (h.s == 'd' or settled(h.s)) then
  new.p = '1'
else
  return { '0' }
end
save(KEYS[1], h, new, ARGV[2])
return { '1' }
