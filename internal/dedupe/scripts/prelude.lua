-- Shared by all scripts: each is sent as this text followed by its own.
-- Lua 5.1, and only what Redis 6, Valkey and miniredis have in common. No globals.

-- whole prints a whole number without an exponent; tostring() would round above 14 digits.
local function whole(n)
  return string.format('%.0f', n)
end

-- micros is the server's clock. Nobody else's clock is ever compared with it.
local function micros()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function millis()
  return math.floor(micros() / 1000)
end

-- digits tells whether v is a stored whole number, small enough to be exact in a double.
local function digits(v)
  return v ~= nil and #v <= 15 and string.match(v, '^%d+$') ~= nil
end

-- fields reads a hash as a table; the second value is the error reply where it is no hash.
local function fields(key)
  local raw = redis.pcall('HGETALL', key)
  if raw.err then
    return nil, raw
  end
  local h = {}
  for i = 1, #raw, 2 do
    h[raw[i]] = raw[i + 1]
  end
  return h
end

-- save makes the hash equal to new. HSET goes first: it is the one command that a full or
-- read-only server refuses, and then nothing has been changed.
local function save(key, old, new, ttl)
  local set, gone = {}, {}
  for f, v in pairs(new) do
    if old[f] ~= v then
      set[#set + 1] = f
      set[#set + 1] = v
    end
  end
  for f in pairs(old) do
    if new[f] == nil then
      gone[#gone + 1] = f
    end
  end
  if #set > 0 then
    redis.call('HSET', key, unpack(set))
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  redis.call('PEXPIRE', key, ttl)
end
