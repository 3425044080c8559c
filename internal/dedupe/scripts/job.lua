-- Shared by the scripts that read or write a claim: the hash of one job, and what they all know.
--
--   s  state: c claimed, w waiting, d done, x dead, e expired
--   h  content: the 32 bytes of its hash
--   o  source (origin): the record that claimed, completed or settled last
--   a  attempts
--   u  updated at, ms
--   t  token                      only while claimed
--   l  lease until, ms            only while claimed
--   f  1: taken over from a holder whose lease had run out; until the next call begins
--   n  not before, ms             only while waiting
--   k  the last token             while waiting, dead or expired: a repeated call is known by it
--   m  1: maybe sent
--   g  log_id                     done; or dead or expired and yet taken by the API
--   r  reason                     dead or expired
--   i i1 i2 ...  details in pieces of 64 bytes, so that the hash stays a listpack: a single
--      longer value would make it four times as large
--   p  1: the outcome is known to be published
--   x:<source>  the verdict that this record was given, kept because the key went on to others:
--      "<C|x|e> <maybe sent> <published> <attempts> <ms> <reason>\n<details>", C for a conflict
local MAX_PAST = 16
local PIECE = 64

local function bad(field)
  return redis.error_reply('BADCLAIM field ' .. field .. ' is not one that this program writes')
end

-- open reads a claim; absent ones are an empty table. What this program cannot have written is
-- answered as an error, and stays as it is.
local function open(key)
  local h, err = fields(key)
  if err then
    return nil, err
  end
  if next(h) == nil then
    return h
  end
  local needs = { c = 'l', w = 'n', d = 'a', x = 'a', e = 'a' }
  local needed = needs[h.s]
  if not needed then
    return nil, bad('s')
  end
  if not h.h or #h.h ~= 32 then
    return nil, bad('h')
  end
  if not h.o then
    return nil, bad('o')
  end
  if h.s == 'c' and not h.t then
    return nil, bad('t')
  end
  for _, f in ipairs({ needed, 'a', 'u' }) do
    if not digits(h[f]) then
      return nil, bad(f)
    end
  end
  return h
end

local function settled(state)
  return state == 'x' or state == 'e'
end

local function details_of(h)
  local d, n = h.i or '', 1
  while h['i' .. n] do
    d = d .. h['i' .. n]
    n = n + 1
  end
  return d
end

local function set_details(h, text)
  local n = 0
  for at = 1, #text, PIECE do
    h[n == 0 and 'i' or 'i' .. n] = string.sub(text, at, at + PIECE - 1)
    n = n + 1
  end
end

-- mark applies keep, set or clear to maybe sent.
local function mark(old, how)
  if how == 'set' then
    return '1'
  elseif how == 'clear' then
    return nil
  end
  return old
end

local function copy(h)
  local c = {}
  for f, v in pairs(h) do
    c[f] = v
  end
  return c
end

-- fresh is an empty claim that keeps the verdicts given to records before.
local function fresh(h)
  local c = {}
  for f, v in pairs(h) do
    if string.sub(f, 1, 2) == 'x:' then
      c[f] = v
    end
  end
  return c
end

-- past is the verdict given to this record before the key went on to others, or nil. A text that
-- cannot be read counts as a conflict: the one verdict that sends nothing and overwrites nothing.
local function past(h, source)
  local text = h['x:' .. source]
  if not text then
    return nil
  end
  local s, m, p, a, at, r, i = string.match(text, '^([Cxe]) ([01]) ([01]) (%d+) (%d+) ([^\n]*)\n(.*)$')
  if not s then
    return { s = 'C', m = '0', p = '0', a = '0', at = '0', r = '', i = '' }
  end
  return { s = s, m = m, p = p, a = a, at = at, r = r, i = i }
end

local function set_past(h, source, v)
  h['x:' .. source] = v.s .. ' ' .. v.m .. ' ' .. v.p .. ' ' .. v.a .. ' ' .. v.at .. ' ' .. v.r .. '\n' .. v.i
end

-- remember keeps a verdict; beyond MAX_PAST the oldest goes, whose record was surely committed.
local function remember(h, source, v)
  set_past(h, source, v)
  local count, oldest, oldest_at = 0, nil, nil
  for f, text in pairs(h) do
    if string.sub(f, 1, 2) == 'x:' then
      count = count + 1
      local at = tonumber(string.match(text, '^%S+ %S+ %S+ %S+ (%d+) ') or '0')
      if f ~= 'x:' .. source and (not oldest or at < oldest_at or (at == oldest_at and f < oldest)) then
        oldest, oldest_at = f, at
      end
    end
  end
  if count > MAX_PAST then
    h[oldest] = nil
  end
end

-- remember_settled keeps what a dead or expired claim told its record, before it is overwritten.
local function remember_settled(new, h, now)
  remember(new, h.o, {
    s = h.s, m = h.m or '0', p = h.p or '0', a = h.a, at = whole(now), r = h.r or '', i = details_of(h),
  })
end
