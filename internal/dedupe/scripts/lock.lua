-- Take a lock, or renew it.
-- KEYS  1 the lock
-- ARGV  1 token  2 owner, for people  3 how long it lasts, ms
-- Answers { '1' } where the caller has it now, else { '0', owner of it, ms until it ends }.
local h, err = fields(KEYS[1])
if err then
  return err
end
if h.token and h.token ~= ARGV[1] then
  return { '0', h.owner or '', whole(math.max(0, redis.call('PTTL', KEYS[1]))) }
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'owner', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { '1' }
