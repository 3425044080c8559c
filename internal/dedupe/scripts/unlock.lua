-- Give a lock back.
-- KEYS  1 the lock
-- ARGV  1 token
-- Answers { '1' } where the caller had it, else { '0' }.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return { '0' }
end
redis.call('DEL', KEYS[1])
return { '1' }
