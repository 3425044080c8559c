-- Try every command that the other scripts use, and leave a key behind for 30 seconds.
-- KEYS  1 a key of its own
-- Answers { "ok" }, or the error of the first command that was refused. The commands are right, so a
-- plain ERR means that this user, or this server, does not have them: answered as NOPERM.
local key = KEYS[1]
-- SET goes first: after one write has been let through, a full server lets all others of a script.
for _, command in ipairs({
  { 'TIME' }, { 'SET', key, '1', 'EX', '30' }, { 'GET', key }, { 'DEL', key }, { 'HSET', key, 'a', '1', 'b', '2' },
  { 'HGETALL', key }, { 'HMGET', key, 'a', 'b' }, { 'HDEL', key, 'a' }, { 'PEXPIRE', key, '30000' },
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    if string.match(answer.err, '^%-?ERR ') or not string.match(answer.err, '^%-?%u+ ') then
      return redis.error_reply('NOPERM ' .. command[1] .. ': ' .. answer.err)
    end
    return answer
  end
end
return { 'ok' }
