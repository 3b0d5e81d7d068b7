-- Functions of nextvec on Redis 7 or Valkey. Keys of one session: m, h, s, with its id as hash tag.
--
-- m: hash  f fence, o replica that holds it, w owner, r values of a vector, n length, p position and
--          d digest of the last append, v version, a variant, t last append (ms), x when the keys'
--          lives were last extended (ms), c length at the checkpoint,
--          l claims as "fence:length", the last ones, newest last
-- h: list  rows, newest last
-- s: string  checkpoint: the model's states after c vectors
--
-- Only the server's clock counts. A fence is the time of its claim in microseconds, or one more than
-- the last one: a fence of a session that has ended never comes again.
local CLAIMS, SPARE, CHUNK = 8, 64, 1000

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function text(number)
  return string.format('%.0f', number)
end

-- Whether a session of n vectors, last used at t, has expired.
local function expired(keys, n, t, now, ttl)
  return n > 0 and (now - t >= ttl or redis.call('EXISTS', keys[2]) == 0)
end

local function extend(keys, now, ttl)
  redis.call('PEXPIRE', keys[1], text(2 * ttl))
  redis.call('PEXPIRE', keys[2], text(1.25 * ttl))
  redis.call('PEXPIRE', keys[3], text(1.25 * ttl))
  redis.call('HSET', keys[1], 'x', text(now))
end

-- How many of the first vectors the holder of `fence` has in common with the store: the smallest
-- length at a later claim. 0 if the fence is not known any more.
local function common(claims, fence, n)
  local known, shared = false, n
  for f, length in string.gmatch(claims, '(%d+):(%d+)') do
    if known then
      shared = math.min(shared, tonumber(length))
    end
    known = known or f == fence
  end
  return known and shared or 0
end

-- replica, owner, values of a vector, ttl (ms), begin (0 no, 1 unknown ones, 2 expired ones too),
-- fence and length of the caller's copy, most rows
-- {status, values of a vector}, {'new', fence}, or {'held', fence, n, p, d, v, a, length of the
-- caller's copy if it may keep it, position of the first row, checkpoint or false, row…}
local function claim(keys, a)
  local m = redis.call('HMGET', keys[1], 'f', 'n', 't', 'w', 'r', 'l', 'p', 'd', 'v', 'a', 'c')
  local us = clock()
  local now, ttl, begin = math.floor(us / 1000), tonumber(a[4]), tonumber(a[5])
  local n = tonumber(m[2] or '0')
  local status = 'held'
  if n == 0 then
    status = 'unknown'
  elseif m[4] ~= a[2] then
    return {'foreign'}
  elseif m[5] ~= a[3] then
    status = 'other'
  elseif expired(keys, n, tonumber(m[3]), now, ttl) then
    status = 'gone'
  end
  if status ~= 'held' and begin < (status == 'unknown' and 1 or 2) then
    return {status, m[5] or ''}
  end
  local fence = text(math.max(tonumber(m[1] or '0') + 1, us))
  redis.call('HSET', keys[1], 'f', fence, 'o', a[1])
  if status == 'unknown' then
    redis.call('HSET', keys[1], 'w', a[2], 'r', a[3], 'n', '0', 'l', fence .. ':0')
    redis.call('PEXPIRE', keys[1], text(ttl))
  end
  if status ~= 'held' then
    return {'new', fence}
  end
  local claims = {}
  for each in string.gmatch(m[6] or '', '%d+:%d+') do
    claims[#claims + 1] = each
  end
  claims[#claims + 1] = fence .. ':' .. text(n)
  while #claims > CLAIMS do
    table.remove(claims, 1)
  end
  redis.call('HSET', keys[1], 'l', table.concat(claims, ' '))
  local have = tonumber(a[7])
  if have > common(m[6] or '', a[6], n) then
    have = 0
  end
  local missing = math.min(n - have, tonumber(a[8]))
  local rows = {}
  if missing > 0 then
    rows = redis.call('LRANGE', keys[2], -missing, -1)
  end
  local checkpoint = false
  if missing > 0 and tonumber(m[11] or '0') > have then
    checkpoint = redis.call('GET', keys[3])
  end
  local answer = {'held', fence, n, m[7] or '', m[8] or '', m[9] or '', m[10] or '',
    have, n - #rows, checkpoint}
  for i = 1, #rows do
    answer[#answer + 1] = rows[i]
  end
  return answer
end

-- fence, start, vectors, position and digest of the last append, version, variant, ttl (ms),
-- most rows, row…
-- A start of 0 begins the session: it drops what was there.
-- {'stored'}, {'fenced'}, {'gone'} or {'length', n}
local function append(keys, a)
  local m = redis.call('HMGET', keys[1], 'f', 'n', 't', 'x', 'p', 'd')
  if m[1] ~= a[1] then
    return {'fenced'}
  end
  local now, ttl = math.floor(clock() / 1000), tonumber(a[8])
  local n, start, count = tonumber(m[2]), tonumber(a[2]), tonumber(a[3])
  local extended = tonumber(m[4] or '0')
  if n == start + count and m[5] == a[4] and m[6] == a[5] then
    return {'stored'}
  end
  if start == 0 then
    redis.call('DEL', keys[2], keys[3])
    redis.call('HDEL', keys[1], 'c')
    redis.call('HSET', keys[1], 'l', a[1] .. ':0')
    extended = 0
  elseif expired(keys, n, tonumber(m[3]), now, ttl) then
    return {'gone'}
  elseif n ~= start then
    return {'length', n}
  end
  local cap = tonumber(a[9])
  if count > #a - 9 then
    redis.call('DEL', keys[2]) -- more came than is kept: nothing from before is
  elseif redis.call('LLEN', keys[2]) > cap + SPARE then
    redis.call('LTRIM', keys[2], -cap, -1) -- before the new rows: an undo leaves `cap` rows
  end
  for first = 10, #a, CHUNK do
    redis.call('RPUSH', keys[2], unpack(a, first, math.min(first + CHUNK - 1, #a)))
  end
  redis.call('HSET', keys[1], 'n', text(start + count), 'p', a[4], 'd', a[5], 'v', a[6], 'a', a[7],
    't', text(now))
  if now - extended >= ttl / 8 then
    extend(keys, now, ttl)
  end
  return {'stored'}
end

-- fence, length after the append, vectors, position and digest of the append before it
local function undo(keys, a)
  local m = redis.call('HMGET', keys[1], 'f', 'n')
  if m[1] ~= a[1] or m[2] ~= a[2] then
    return 0
  end
  redis.call('RPOP', keys[2], a[3])
  redis.call('HSET', keys[1], 'n', text(tonumber(a[2]) - tonumber(a[3])), 'p', a[4], 'd', a[5])
  return 1
end

-- fence, length, ttl (ms), states
local function checkpoint(keys, a)
  local m = redis.call('HMGET', keys[1], 'f', 'n')
  if m[1] ~= a[1] or tonumber(m[2]) < tonumber(a[2]) then
    return 0
  end
  redis.call('SET', keys[3], a[4], 'PX', text(1.25 * tonumber(a[3])))
  redis.call('HSET', keys[1], 'c', a[2])
  return 1
end

-- fence, length, ttl (ms): the end of a sequence. Answers as append does.
local function finish(keys, a)
  local m = redis.call('HMGET', keys[1], 'f', 'n', 't')
  if m[1] ~= a[1] then
    return {'fenced'}
  end
  local n = tonumber(m[2])
  if expired(keys, n, tonumber(m[3] or '0'), math.floor(clock() / 1000), tonumber(a[3])) then
    return {'gone'}
  elseif m[2] ~= a[2] and a[2] ~= '0' then
    return {'length', n}
  end
  redis.call('DEL', keys[1], keys[2], keys[3])
  return {'stored'}
end

-- owner, ttl (ms) -> {status} or {'held', n, v, a, bytes}
local function read(keys, a)
  local m = redis.call('HMGET', keys[1], 'n', 't', 'w', 'v', 'a')
  local n = tonumber(m[1] or '0')
  if n == 0 or m[3] ~= a[1] then
    return {'unknown'}
  elseif expired(keys, n, tonumber(m[2]), math.floor(clock() / 1000), tonumber(a[2])) then
    return {'gone'}
  end
  local row = redis.call('LINDEX', keys[2], -1) or ''
  return {'held', n, m[4], m[5],
    redis.call('LLEN', keys[2]) * #row + redis.call('STRLEN', keys[3])}
end

-- owner, ttl (ms) -> {status}
local function delete(keys, a)
  local found = read(keys, a)
  if found[1] == 'held' then
    redis.call('DEL', keys[1], keys[2], keys[3])
  end
  return {found[1]}
end

-- A prediction that waits for its label: hash b prediction, t when it was made (ms), k who took it.
-- ttl (ms), prediction
local function await(keys, a)
  redis.call('DEL', keys[1])
  redis.call('HSET', keys[1], 'b', a[2], 't', text(math.floor(clock() / 1000)))
  redis.call('PEXPIRE', keys[1], text(2 * tonumber(a[1])))
  return 1
end

-- ttl (ms), token of the taker: the same one may take it again, because its answer may be lost.
-- {'taken', prediction}, {'repeated'}, {'gone'} or {'unknown'}
local function take(keys, a)
  local m = redis.call('HMGET', keys[1], 'b', 't', 'k')
  if not m[2] then
    return {'unknown'}
  elseif m[3] and m[3] ~= a[2] then
    return {'repeated'}
  elseif math.floor(clock() / 1000) - tonumber(m[2]) >= tonumber(a[1]) then
    return {'gone'}
  end
  redis.call('HSET', keys[1], 'k', a[2])
  return {'taken', m[1]}
end

-- ttl (ms), what this fleet is -> what a fleet of this name is that has been seen within the ttl
local function enlist(keys, a)
  local found = redis.call('GET', keys[1])
  if found and found ~= a[2] then
    return found
  end
  redis.call('SET', keys[1], a[2], 'PX', a[1])
  return a[2]
end

-- An owner's sessions, in a sorted set by the end of their lives.
-- id, life (ms), most sessions or '' -> {1} or {0, sessions}
local function admit(keys, a)
  local now = math.floor(clock() / 1000)
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', text(now))
  if a[3] ~= '' and not redis.call('ZSCORE', keys[1], a[1]) then
    local held = redis.call('ZCARD', keys[1])
    if held >= tonumber(a[3]) then
      return {0, held}
    end
  end
  redis.call('ZADD', keys[1], text(now + tonumber(a[2])), a[1])
  redis.call('PEXPIRE', keys[1], a[2])
  return {1}
end

-- id
local function dismiss(keys, a)
  return redis.call('ZREM', keys[1], a[1])
end

-- Without the flag, a server whose memory is full would refuse these too.
local FREEING = {'allow-oom'}
redis.register_function('@claim', claim)
redis.register_function('@append', append)
redis.register_function('@checkpoint', checkpoint)
redis.register_function('@await', await)
redis.register_function('@admit', admit)
redis.register_function{function_name = '@dismiss', callback = dismiss, flags = FREEING}
redis.register_function{function_name = '@undo', callback = undo, flags = FREEING}
redis.register_function{function_name = '@finish', callback = finish, flags = FREEING}
redis.register_function{function_name = '@delete', callback = delete, flags = FREEING}
redis.register_function{function_name = '@take', callback = take, flags = FREEING}
redis.register_function{function_name = '@enlist', callback = enlist, flags = FREEING}
redis.register_function{function_name = '@read', callback = read, flags = {'no-writes'}}
