-- Record that the API took the reply. Goes by the content, not the token: what the API said is true.
-- KEYS  1 the claim
-- ARGV  1 source  2 content  3 log_id  4 details  5 attempts as the caller knows them
--       6 maybe sent: keep, set or clear  7 retention, ms
-- Answers { verdict, log_id, state, reason, details, attempts, maybe sent, published, source }:
--   completed  done by this record, now or by an earlier call with this log_id
--   already    done by this record with the log_id given, which is another one
--   duplicate  done by another record of the same content
--   settled    this record was dead or expired before: that stays, log_id and maybe sent are added
--   conflict   this record was told of a conflict before, and that stays: nothing is written
--   foreign    other content has the key: nothing is written
local key, source, content, log_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local h, err = open(key)
if err then
  return err
end
local now = millis()

local function answer(verdict)
  return {
    verdict, h.g or '', h.s or '', h.r or '', details_of(h), h.a or '0', h.m or '0', h.p or '0', h.o or '',
  }
end

local own = h.o == source
local same = own or h.h == content

local before = past(h, source)
if before then
  if before.s == 'C' then
    return answer('conflict')
  end
  local new = copy(h)
  before.m = '1'
  set_past(new, source, before)
  if same and h.s ~= 'd' then
    new.m = '1'
  end
  save(key, h, new, ARGV[7])
  return { 'settled', log_id, before.s, before.r, before.i, before.a, '1', before.p, source }
end

if h.s and not same then
  return answer('foreign')
end
if h.s == 'd' then
  if not own then
    return answer('duplicate')
  end
  return answer(h.g == log_id and 'completed' or 'already')
end
if own and settled(h.s) then
  local new = copy(h)
  new.g, new.m, new.u = h.g or log_id, '1', whole(now)
  save(key, h, new, ARGV[7])
  h = new
  return answer('settled')
end

local new = fresh(h)
local attempts, maybe_sent = tonumber(ARGV[5]), nil
if settled(h.s) then
  remember_settled(new, h, now)
elseif h.s then
  attempts, maybe_sent = math.max(attempts, tonumber(h.a)), h.m
end
new.s, new.h, new.o, new.g, new.a, new.u = 'd', content, source, log_id, whole(attempts), whole(now)
new.m = mark(maybe_sent, ARGV[6])
set_details(new, ARGV[4])
save(key, h, new, ARGV[7])
h = new
return answer('completed')
