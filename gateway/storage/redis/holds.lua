-- The second part of the script that counters.lua begins: holds, and what may be asked.

-- Holds ----------------------------------------------------------------------------------------------

local function record_key(hold)
  return prefix .. 'hold:' .. hold
end

local function take_out(hold)
  local record = redis.call('GET', record_key(hold))
  redis.call('DEL', record_key(hold))
  redis.call('ZREM', holds_key, hold)
  return record and cmsgpack.unpack(record) or {}
end

local function expire(hold)
  for _, entry in ipairs(take_out(hold)) do
    kind_of(entry).expire(entry, hold)
  end
end

local function alive(hold)
  local expires = redis.call('ZSCORE', holds_key, hold)
  if not expires then return false end
  if tonumber(expires) > now then return true end
  expire(hold)
  return false
end

local function sweep()
  local over = redis.call('ZRANGEBYSCORE', holds_key, '-inf', text(now), 'LIMIT', 0, SWEEP)
  for _, hold in ipairs(over) do expire(hold) end
end

-- Operations -----------------------------------------------------------------------------------------

local operations = {}

-- {claims, ttl} -> {1, restored, (index, remaining, reset)...}, {0, restored, index, remaining,
-- reset, held, surplus, retry after}, or {-1} when the id is held already. Indices begin at 0.
function operations.admit()
  local claims, ttl = input[1], input[2]
  sweep()
  if alive(id) then return cmsgpack.pack({-1}) end
  local known = restored()
  local entries = {}
  for index, claim in ipairs(claims) do
    local entry, kind = open(claim)
    kind.read(entry)
    if not kind.fits(entry) then
      local remaining, reset, held, back = kind.status(entry)
      return cmsgpack.pack({
        0, known, index - 1, remaining, reset, held or 0, back or 0, kind.retry(entry),
      })
    end
    entries[index] = entry
  end
  local reply = {1, known}
  for index, entry in ipairs(entries) do
    kind_of(entry).take(entry, ttl)
    if entry.unit == 'requests' then
      local remaining, reset = rate.status(entry)
      reply[#reply + 1] = index - 1
      reply[#reply + 1] = remaining
      reply[#reply + 1] = reset
    end
  end
  redis.call('ZADD', holds_key, text(now + ttl), id)
  redis.call('PEXPIRE', holds_key, RECORD_MS)
  redis.call('SET', record_key(id), cmsgpack.pack(entries), 'PX', RECORD_MS)
  return cmsgpack.pack(reply)
end

-- The counter of an entry, in whatever window: without the START of a total's key.
local function counter_of(entry)
  if kind_of(entry) == total then return (string.gsub(entry.key, ':%d+$', '')) end
  return entry.key
end

-- {claims, ttl} -> 1, or 0 when the id was settled.
function operations.reinstate()
  if redis.call('EXISTS', prefix .. 'ended:' .. id) == 1 then return 0 end
  local entries, had, ttl = {}, {}, input[2]
  if alive(id) then
    entries = cmsgpack.unpack(redis.call('GET', record_key(id)))
    ttl = math.max(ttl, tonumber(redis.call('ZSCORE', holds_key, id)) - now)
  end
  for _, entry in ipairs(entries) do had[counter_of(entry)] = entry end
  for _, claim in ipairs(input[1]) do
    local entry, kind = open(claim)
    local known = had[counter_of(entry)]
    if known then
      known.limit = claim.limit
      if kind == gauge then kind.insist(known, ttl) end
    elseif kind ~= rate then
      kind.insist(entry, ttl)
      entries[#entries + 1] = entry
    end
  end
  redis.call('ZADD', holds_key, text(now + ttl), id)
  redis.call('PEXPIRE', holds_key, RECORD_MS)
  redis.call('SET', record_key(id), cmsgpack.pack(entries), 'PX', RECORD_MS)
  return 1
end

-- {unit, more} -> 1 when every scope had room, 0 when one had none, -1 when the hold is gone.
function operations.extend()
  local unit, more = input[1], input[2]
  if not alive(id) then return -1 end
  local entries = cmsgpack.unpack(redis.call('GET', record_key(id)))
  local chosen = {}
  for _, entry in ipairs(entries) do
    if entry.unit == unit and not entry.over then
      local kind, current = kind_of(entry), entry
      kind.read(current)
      if kind == total and current.used + more > current.limit then
        current = total.today(entry)
        kind.read(current)
      end
      if current.used + more > current.limit then return 0 end
      chosen[#chosen + 1] = {entry, current}
    end
  end
  for _, pair in ipairs(chosen) do
    local entry, current = unpack(pair)
    current.take = current.take + more
    if current == entry then
      redis.call('HINCRBY', entry.key, 'held', text(more))
    else
      entry.over = true
      total.take(current, tonumber(redis.call('ZSCORE', holds_key, id)) - now)
      entries[#entries + 1] = current
    end
  end
  redis.call('SET', record_key(id), cmsgpack.pack(entries), 'PX', RECORD_MS)
  return 1
end

-- Before the ledger's sums are here, nothing is counted beside them: what has a row is among them,
-- and whoever waits for its row will hold it again.
local function settle_unknown()
  if alive(id) then expire(id) end
  return text(0)
end

-- What the window of an entry has of what was used: no more than was held in it, where more was held in
-- later ones; the last of these has the rest.
local function part_of(entry, used, rests)
  if not entry.over and next(rests) == nil then return used end
  local counter = counter_of(entry)
  local rest = rests[counter] or used
  if not entry.over then return rest end
  local part = math.min(rest, entry.take)
  rests[counter] = rest - part
  return part
end

-- {claims, {unit -> actual}, the fill since which there is a row of it, 0 where there is none yet} -> the
-- nano-dollars that lie past a limit; 0 when the id was settled before, -1 where somebody has filled since,
-- whose sums may have the row: what is held stays so, until the gateway has filled as well.
function operations.settle()
  if ARGV[5] ~= '' and restored() == 0 then return settle_unknown() end
  local claims, actual, fill = input[1], input[2], input[3] or 0
  local ended, past = prefix .. 'ended:' .. id, 0
  if fill ~= 0 and ARGV[5] ~= '' and fill ~= filled() and redis.call('EXISTS', ended) == 0 then
    return -1
  end
  if alive(id) then
    local rests = {}
    for _, entry in ipairs(take_out(id)) do
      local part = part_of(entry, actual[entry.unit] or 0, rests)
      past = math.max(past, kind_of(entry).settle(entry, part, id))
    end
  elseif redis.call('EXISTS', ended) == 1 then
    return 0
  else
    for _, claim in ipairs(claims) do
      if not KINDS[claim.unit] then
        local entry, kind = open(claim)
        past = math.max(past, kind.spend(entry, actual[claim.unit] or 0))
      end
    end
  end
  redis.call('SET', ended, '', 'PX', 3660000)
  return text(past)
end

function operations.release()
  if not alive(id) then return 0 end
  for _, entry in ipairs(take_out(id)) do
    kind_of(entry).release(entry, id)
  end
  return 1
end

-- {{claim...}, number, whether it is the last part} -> which memory this is. A claim's take is what the
-- ledger knows of the current window, or of the step ``at`` of a rolling one. With the last part all is
-- there, and the number is that of this memory, if that has none. What is counted of this ledger may be
-- less, on a server that has lost its memory or for a limit that is new, or more, while a settlement is on
-- its way to the ledger.
function operations.restore()
  for _, claim in ipairs(input[1]) do
    local entry, kind = open(claim)
    local field = of_ledger
    if kind == rolling then
      entry.at = claim.at
      field = text(entry.at) .. ':' .. of_ledger
    end
    local known = tonumber(redis.call('HGET', entry.key, field) or 0)
    if known < claim.take then
      kind.spend(entry, claim.take - known)
    end
  end
  local number, life = input[2], 400 * 86400 * 1000
  redis.call('SET', filled_key, text(number), 'PX', life)
  if input[3] then
    if restored() > 0 then number = restored() end
    redis.call('SET', restored_key, text(number), 'PX', life)
  end
  return text(restored())
end

-- -> which memory this is in which what the ledger knows is counted; 0: the server has lost it.
function operations.known()
  return text(restored())
end

-- {claim...} -> {(remaining, reset, held, surplus)...}
function operations.statuses()
  sweep()
  local reply = {}
  for _, claim in ipairs(input) do
    local entry, kind = open(claim)
    kind.read(entry)
    local remaining, reset, held, back = kind.status(entry)
    reply[#reply + 1] = remaining
    reply[#reply + 1] = reset
    reply[#reply + 1] = held or 0
    reply[#reply + 1] = back or 0
  end
  return cmsgpack.pack(reply)
end

-- {claim...} of totals -> {(spent, end of the window)...}
function operations.spent()
  local reply = {}
  for _, claim in ipairs(input) do
    local entry, kind = open(claim)
    kind.read(entry)
    reply[#reply + 1] = entry.spent
    reply[#reply + 1] = kind.told_until(entry)
  end
  return cmsgpack.pack(reply)
end
