-- Make the done claim of a success that is known from its outcome, where the key has no claim at all.
-- A claim that is there stays as it is, whatever it says: workers own it.
-- KEYS  1 the claim
-- ARGV  1 source  2 content  3 log_id  4 attempts  5 maybe sent: 1 or 0  6 finished at, ms
--       7 retention, ms  8 write: 1, or 0 to tell only what would be done
-- Answers { verdict, source and log_id of the claim that is there }, verdict is one of
--   restored   there was none; now this record has succeeded and its outcome is published
--   present    there is one, and nothing in it is against the outcome
--   disagrees  there is one of other content, or with another log_id
--   too_old    the retention, counted from when the job finished, is over
local key, source, content, log_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local finished, retention = tonumber(ARGV[6]), tonumber(ARGV[7])

-- A worker's clock may be ahead of this one; a claim lasts no longer for that.
local left = math.min(retention, finished + retention - millis())
if left < 1 then
  return { 'too_old', '', '' }
end

local h, err = open(key)
if err then
  return err
end
if h.s then
  local agrees = h.h == content and (not h.g or h.g == log_id)
  return { agrees and 'present' or 'disagrees', h.o, h.g or '' }
end
if ARGV[8] == '1' then
  save(key, h, {
    s = 'd', h = content, o = source, a = ARGV[4], u = whole(finished), m = ARGV[5] == '1' and '1' or nil,
    g = log_id, p = '1',
  }, whole(left))
end
return { 'restored', source, log_id }
