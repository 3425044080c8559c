-- Tell how a merchant's calls were answered, and ask for permits to make more of them.
-- KEYS  1 the pace
-- ARGV  1 the epoch that the caller knows; answers to its calls: 2 accepted  3 refused  4 refused in a row
--       5 accepted, of any epoch  6 whether calls had to wait  7 accepted per second, where there is no limit
--       8 permits wanted  9 ceiling, calls/s or 0
--       10 microseconds between two lessons  11 microseconds to grant ahead, or 12 so many permits, if they
--       are no more than 13 microseconds  14 refusals in a row that are a lesson at once  15 retention, ms
-- Answers { epoch, limit, permits, first and every and wait in microseconds, whether a lesson is due,
--   and then version, learned, accepted, refused, row, through, held, rate, elapsed in microseconds }.
-- The hash: v version, e epoch, m limit, s learned (all by a lesson); a, r, w, t, h, q counts since then;
-- f when the next permit is for, c when the last lesson was, d when the next is due.
local raw = redis.pcall('HMGET', KEYS[1], 'v', 'e', 'm', 's', 'a', 'r', 'w', 't', 'h', 'q', 'f', 'c', 'd')
if raw.err then
  return raw
end
-- What is not a number is not this program's, and as good as not there.
local function number(i)
  return tonumber(raw[i] or nil) or 0
end
local now = micros()
local epoch, limit = number(2), number(3)
local accepted, refused, row, through = number(5), number(6), number(7), number(8) + ARGV[5]
local held, rate = number(9), number(10) + ARGV[7]
local free, since, due = number(11), number(12), number(13)
if since == 0 or since > now then
  since = now
end

if tonumber(ARGV[1]) == epoch then
  if tonumber(ARGV[2]) > 0 then
    row = 0
  end
  accepted, refused, row = accepted + ARGV[2], refused + ARGV[3], row + ARGV[4]
  held = math.max(held, tonumber(ARGV[6]))
end

local lesson = '0'
if accepted + refused + through + held > 0 and (now >= due or due > now + ARGV[10] or row >= tonumber(ARGV[14])) then
  lesson, due = '1', now + ARGV[10]
end

local ceiling, want = tonumber(ARGV[9]), tonumber(ARGV[8])
local pace = limit
if ceiling > 0 and (pace == 0 or ceiling < pace) then
  pace = ceiling
end
local permits, first, every, wait = 0, 0, 0, 0
if pace > 0 and want > 0 then
  every = 1e6 / pace
  local ahead = math.max(tonumber(ARGV[11]), math.min(ARGV[12] * every, tonumber(ARGV[13])), 2 * every)
  -- Not behind, and not further ahead than is ever granted, save what one permit takes: the clock may
  -- have been set back.
  free = math.min(math.max(free, now), now + ahead + every)
  permits = math.max(0, math.min(want, math.ceil((now + ahead - free) / every)))
  first = free - now
  free = free + permits * every
  if permits < want then
    wait = math.max(every, free - now - ahead)
  end
end

redis.call('HSET', KEYS[1], 'a', whole(accepted), 'r', whole(refused), 'w', whole(row), 't', whole(through),
  'h', whole(held), 'q', string.format('%.9g', rate), 'f', whole(free), 'c', whole(since), 'd', whole(due))
redis.call('PEXPIRE', KEYS[1], ARGV[15])
return { whole(epoch), string.format('%.9g', pace), whole(permits), whole(first), whole(every), whole(wait),
  lesson, whole(number(1)), raw[4] or '', whole(accepted), whole(refused), whole(row), whole(through),
  whole(held), string.format('%.9g', rate), whole(now - since) }
