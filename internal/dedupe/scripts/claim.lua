-- Claim a job.
-- KEYS  1 the claim
-- ARGV  1 token  2 source  3 content  4 attempts to add when won  5 lease, ms  6 retention, ms
-- Answers { verdict, attempts, maybe sent, taken over, wait ms, state, log_id, reason, details,
--           published, source of the record that has the key }, all as strings; verdict is one of
--   won        the caller holds the claim; a repeated call with the token is won again, for free
--   busy       another has it, or it is to be called before it is due: ask again after wait
--   done       this very record succeeded
--   duplicate  another record of the same content succeeded
--   settled    this very record is dead or expired
--   conflict   the id belongs to other content; remembered for this record
local key, token, source, content = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local spend, lease, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local h, err = open(key)
if err then
  return err
end
local now = millis()

local function answer(verdict, wait)
  return {
    verdict, h.a or '0', h.m or '0', h.f or '0', whole(wait or 0), h.s or '', h.g or '', h.r or '',
    details_of(h), h.p or '0', h.o or '',
  }
end

-- win writes the caller's claim over the old one; new has what is kept of it.
local function win(new, attempts, maybe_sent, taken_over)
  new.s, new.t, new.l, new.h, new.o = 'c', token, whole(now + lease), content, source
  new.a, new.m, new.f, new.u = whole(attempts), maybe_sent, taken_over, whole(now)
  save(key, h, new, retention)
  h = new
  return answer('won')
end

local function conflict()
  local new = copy(h)
  remember(new, source, { s = 'C', m = '0', p = '0', a = '0', at = whole(now), r = '', i = '' })
  save(key, h, new, retention)
  return answer('conflict')
end

-- A record keeps the verdict that it was given, whatever has become of the key since.
local before = past(h, source)
if before then
  if before.s == 'C' then
    return answer('conflict')
  end
  return { 'settled', before.a, before.m, '0', '0', before.s, '', before.r, before.i, before.p, source }
end

if not h.s then
  return win(fresh(h), spend, nil, nil)
end

-- A record's content is its own, also where another version of this program hashed it otherwise.
local own = h.o == source
local same = own or h.h == content

if h.s == 'd' then
  if own then
    return answer('done')
  elseif same then
    return answer('duplicate')
  end
  return conflict()
end

if settled(h.s) then
  if own then
    return answer('settled')
  elseif same or not h.m then
    local new = fresh(h)
    remember_settled(new, h, now)
    return win(new, spend, h.m, nil) -- set only where the content is the same
  end
  return conflict()
end

if not same then
  return conflict()
end

if h.s == 'c' then
  if h.t == token then
    local new = copy(h)
    new.l, new.u = whole(now + lease), whole(now)
    save(key, h, new, retention)
    return answer('won')
  elseif tonumber(h.l) > now then
    return answer('busy', tonumber(h.l) - now)
  end
  -- The holder was lost, perhaps with a call in flight.
  return win(fresh(h), tonumber(h.a) + spend, '1', '1')
end

if spend > 0 and tonumber(h.n) > now then
  return answer('busy', tonumber(h.n) - now)
end
return win(fresh(h), tonumber(h.a) + spend, h.m, nil)
