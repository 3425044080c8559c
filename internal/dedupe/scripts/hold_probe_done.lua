-- Report that a probe is over; the hold stays.
-- KEYS  1 the hold
-- ARGV  1 token
-- Answers { "1" } where that probe was out, else { "0" }.
local h, err = open_hold(KEYS[1])
if err then
  return err
end
if h.token ~= ARGV[1] then
  return { '0' }
end
redis.call('HDEL', KEYS[1], 'token', 'until')
return { '1' }
