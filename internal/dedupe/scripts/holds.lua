-- Shared by the scripts of a merchant's hold, a hash with these fields:
--
--   kind code message   why; the first one stays
--   since               ms
--   first max           the waits before the first probe and at most, ms
--   probes              probes taken
--   next                the next probe is due, ms
--   last                the complaint whose job probed last
--   token until         the probe that is out, and when it is given up, ms
local function open_hold(key)
  local h, err = fields(key)
  if err then
    return nil, err
  end
  if next(h) == nil then
    return h
  end
  for _, f in ipairs({ 'since', 'first', 'max', 'probes', 'next' }) do
    if not digits(h[f]) then
      return nil, redis.error_reply('BADHOLD field ' .. f .. ' is not one that this program writes')
    end
  end
  if h['until'] and not digits(h['until']) then
    return nil, redis.error_reply('BADHOLD field until is not one that this program writes')
  end
  return h
end

-- due is how long no probe can start.
local function due(h, now)
  return math.max(0, tonumber(h.next) - now, tonumber(h['until'] or '0') - now)
end

-- describe appends the hold to an answer:
-- kind, code, message, since ms, probes, ms until a probe can start, last complaint.
local function describe(answer, h, now)
  for _, v in ipairs({
    h.kind or '', h.code or '', h.message or '', h.since, h.probes, whole(due(h, now)), h.last or '',
  }) do
    answer[#answer + 1] = v
  end
  return answer
end
