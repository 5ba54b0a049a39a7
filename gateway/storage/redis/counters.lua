-- One decision about limits and budgets: one atomic step on the server, by the server's clock.
--
-- KEYS[1]   spillgate:{limits}:holds, a sorted set: hold id -> when it expires
-- ARGV      operation, now (microseconds since the epoch; 0: ask TIME), hold id, MessagePack,
--           the ledger of whoever asks, and the windows that are not told by one word as MessagePack:
--           text -> {0, instants at which such windows begin...} or {1, length, step} of a rolling one
--
-- Every other key has the same prefix, and so the same hash slot:
--   rate:SCOPE:WINDOW                "us part": nothing is owed any more at us + part/limit
--   total:SCOPE:UNIT:WINDOW:START    {spent, held, surplus, of:LEDGER...} in the calendar window that
--                                    begins at START; surplus is what of the held will probably come
--                                    back, of:LEDGER what that ledger knows of what was spent
--   rolling:SCOPE:UNIT:WINDOW        {held, STEP:LEDGER...}: what is held, and what that ledger knows of
--                                    what was spent in that step of the window
--   surplus:SCOPE:UNIT:WINDOW        {surplus} of such a window. Apart, for a gateway of an earlier version
--                                    takes every other field for what is held
--   alive:SCOPE:WINDOW               a sorted set: hold id -> when it expires
--   hold:ID                          MessagePack: what the hold took, to give it back
--   ended:ID                         the hold was settled; kept for an hour
--   restored:LEDGER                  what that ledger knows was counted since the server began: a number
--                                    that is another one whenever the server has lost its memory
--   filled:LEDGER                    another number whenever somebody has counted what that ledger knows
--
-- All numbers are integers below 2^53, which Lua's doubles hold exactly.

local holds_key = KEYS[1]
local prefix = string.sub(holds_key, 1, -6)
local operation, now, id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local input = cmsgpack.unpack(ARGV[4])
local windows = ARGV[6] ~= '' and cmsgpack.unpack(ARGV[6]) or {}
local of_ledger, restored_key = 'of:' .. ARGV[5], prefix .. 'restored:' .. ARGV[5]

-- 0 before what the ledger knows is counted. A gateway of an earlier version has written no number.
local function restored()
  local number = redis.call('GET', restored_key)
  return number and (tonumber(number) or 1) or 0
end

local filled_key = prefix .. 'filled:' .. ARGV[5]

local function filled()
  return tonumber(redis.call('GET', filled_key) or 0)
end

if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local SECOND = 1000000
local DAY = 86400 * SECOND
local LENGTH = {
  second = SECOND, minute = 60 * SECOND, hour = 3600 * SECOND,
  day = DAY, week = 7 * DAY, month = 30 * DAY,
}
local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
local GRACE = 60 * SECOND
local SWEEP = 100
-- A hold's record outlives every window that it can be held in, so that no held amount can lose
-- the record that gives it back.
local RECORD_MS = 63 * 86400 * 1000

-- Adding 0 makes of -0, which HINCRBY does not take, a 0.
local function text(number)
  return string.format('%.0f', number + 0)
end

-- Lengthens the life of a key to at least us microseconds from now.
local function keep(key, us)
  local ms = math.ceil((us + GRACE) / 1000)
  if redis.call('PTTL', key) < ms then
    redis.call('PEXPIRE', key, text(ms))
  end
end

-- Calendar ---------------------------------------------------------------------------------------

-- Days from 1970-01-01 to the first of January; 477 leap days lie before 1970.
local function january(year)
  local past = year - 1
  return 365 * (year - 1970)
    + math.floor(past / 4) - math.floor(past / 100) + math.floor(past / 400) - 477
end

local function month_bounds(day)
  local year = 1970 + math.floor(day / 365.2425)
  if january(year) > day then year = year - 1 end
  if january(year + 1) <= day then year = year + 1 end
  local start, leap = january(year), january(year + 1) - january(year) - 365
  for month = 1, 12 do
    local length = MONTH_DAYS[month] + (month == 2 and leap or 0)
    if day < start + length then return start * DAY, (start + length) * DAY end
    start = start + length
  end
end

-- The windows of a time zone are told by whoever asks: this server knows no zones.
local function bounds_among(edges)
  for index = 2, #edges - 1 do
    if edges[index] <= now and now < edges[index + 1] then
      return edges[index], edges[index + 1]
    end
  end
  error('the clocks of this server and of a gateway are days apart')
end

local function bounds(window)
  if windows[window] then return bounds_among(windows[window]) end
  if window == 'month' then return month_bounds(math.floor(now / DAY)) end
  local length = LENGTH[window]
  -- Weeks are counted from the first Monday, 1970-01-05.
  local offset = window == 'week' and 4 * DAY or 0
  local start = now - math.fmod(now + length - offset, length)
  return start, start + length
end

-- requests: GCRA -----------------------------------------------------------------------------------

local rate = {}

function rate.open(claim)
  return {
    unit = claim.unit, take = claim.take, limit = claim.limit, length = LENGTH[claim.window],
    key = prefix .. 'rate:' .. claim.scope .. ':' .. claim.window,
  }
end

-- Exact where a division would round: whole * limit + rest == amount.
local function split(amount, limit)
  local rest = math.fmod(amount, limit)
  return (amount - rest) / limit, rest
end

function rate.read(entry)
  local stored = redis.call('GET', entry.key)
  local us, part = now, 0
  if stored then
    local first, second = string.match(stored, '^(%d+) (%d+)$')
    us, part = tonumber(first), tonumber(second)
    -- Nobody can owe more than a window: then the clock was set back.
    if us < now or us > now + entry.length then
      us, part = now, 0
    elseif part >= entry.limit then -- a smaller limit has come since
      us, part = us + 1, 0
    end
  end
  entry.us, entry.part = us, part
end

function rate.advance(entry)
  local whole, rest = split(entry.take * entry.length, entry.limit)
  local us, part = entry.us + whole, entry.part + rest
  if part >= entry.limit then us, part = us + 1, part - entry.limit end
  return us, part
end

function rate.fits(entry)
  local us, part = rate.advance(entry)
  local room = now + entry.length - us
  return room > 0 or (room == 0 and part == 0)
end

local function write_rate(entry)
  local ms = math.ceil((math.max(entry.us - now, 0) + GRACE) / 1000)
  redis.call('SET', entry.key, text(entry.us) .. ' ' .. text(entry.part), 'PX', text(ms))
end

function rate.take(entry)
  entry.us, entry.part = rate.advance(entry)
  entry.mark = entry.us
  write_rate(entry)
end

function rate.settle() return 0 end

function rate.insist() end

function rate.expire() end

function rate.release(entry)
  -- Time has given the token back already where nothing was owed since.
  if entry.mark <= now then return end
  rate.read(entry)
  local whole, rest = split(entry.take * entry.length, entry.limit)
  entry.us, entry.part = entry.us - whole, entry.part - rest
  if entry.part < 0 then entry.us, entry.part = entry.us - 1, entry.part + entry.limit end
  write_rate(entry)
end

function rate.status(entry)
  local slack, limit = now + entry.length - entry.us, entry.limit
  local whole, rest = split(entry.length, limit)
  -- The estimate may be one off; the loop compares without a rounding.
  local left = math.floor(slack * limit / entry.length) + 1
  while left > 0 and left * rest + entry.part > (slack - left * whole) * limit do
    left = left - 1
  end
  return left, entry.us - now + (entry.part > 0 and 1 or 0)
end

function rate.retry(entry)
  local us, part = rate.advance(entry)
  return us + (part > 0 and 1 or 0) - now - entry.length
end

-- What is held and spent, in a calendar window -------------------------------------------------------

local total = {}

function total.open(claim)
  local start, ends = bounds(claim.window)
  return {
    unit = claim.unit, take = claim.take, surplus = claim.surplus, limit = claim.limit, ends = ends,
    window = claim.window, told = windows[claim.window],
    key = prefix .. 'total:' .. claim.scope .. ':' .. claim.unit .. ':' .. claim.window .. ':'
      .. text(start),
  }
end

-- The same counter in the window of now: the entry itself while its own goes on, and where nobody can say
-- which that is, since the window of a zone was told too long ago, or by a gateway of an earlier version.
function total.today(entry)
  local window, told = entry.window, entry.told
  if entry.ends > now or not window or (told and told[#told] <= now) then return entry end
  windows[window] = windows[window] or told
  local start, ends = bounds(window)
  return {
    unit = entry.unit, take = 0, limit = entry.limit, ends = ends, window = window, told = told,
    key = string.gsub(entry.key, '%d+$', '') .. text(start),
  }
end

function total.read(entry)
  local fields = redis.call('HMGET', entry.key, 'spent', 'held', 'surplus')
  entry.spent, entry.held = tonumber(fields[1] or 0), tonumber(fields[2] or 0)
  entry.used, entry.back = entry.spent + entry.held, tonumber(fields[3] or 0)
end

-- Holds what the entry takes, or gives it back where times is -1. What is held by a gateway of an
-- earlier version has no surplus.
local function hold(entry, times)
  redis.call('HINCRBY', entry.key, 'held', text(times * entry.take))
  local surplus = entry.surplus or 0
  if surplus == 0 then return end
  redis.call('HINCRBY', entry.apart or entry.key, 'surplus', text(times * surplus))
end

function total.fits(entry)
  return entry.used + entry.take <= entry.limit
end

function total.take(entry, ttl)
  hold(entry, 1)
  keep(entry.key, entry.ends - now + ttl)
end

total.insist = total.take

function total.expire(entry)
  hold(entry, -1)
  keep(entry.key, entry.ends - now)
end

total.release = total.expire

-- Returns how many nano-dollars of the amount lie past the limit.
function total.spend(entry, amount)
  if amount == 0 then return 0 end
  local past = redis.call('HINCRBY', entry.key, 'spent', text(amount)) - entry.limit
  redis.call('HINCRBY', entry.key, of_ledger, text(amount))
  keep(entry.key, entry.ends - now)
  if past <= 0 or entry.unit ~= 'nano_usd' then return 0 end
  return math.min(past, amount)
end

function total.settle(entry, amount)
  hold(entry, -1)
  return total.spend(entry, amount)
end

function total.status(entry)
  return math.max(0, entry.limit - entry.used), entry.ends - now, entry.held, entry.back
end

function total.told_until(entry)
  return entry.ends
end

function total.retry(entry)
  return entry.ends - now
end

-- The same in a rolling window: what was spent is kept by the steps of the window -------------------

local rolling, spent_in = {}, {}

function rolling.open(claim)
  local _, length, step = unpack(windows[claim.window])
  return {
    unit = claim.unit, take = claim.take, surplus = claim.surplus, limit = claim.limit,
    length = length, step = step, at = math.floor(now / step),
    key = prefix .. 'rolling:' .. claim.scope .. ':' .. claim.unit .. ':' .. claim.window,
    apart = prefix .. 'surplus:' .. claim.scope .. ':' .. claim.unit .. ':' .. claim.window,
  }
end

-- Leaves {step, amount} of each step that counts in spent_in, the oldest first, and forgets others.
function rolling.read(entry)
  local fields, oldest = redis.call('HGETALL', entry.key), math.floor((now - entry.length) / entry.step)
  local sums, over, steps = {}, {}, {}
  entry.spent, entry.held = 0, 0
  entry.back = tonumber(redis.call('HGET', entry.apart, 'surplus') or 0)
  for index = 1, #fields, 2 do
    local name, amount = fields[index], tonumber(fields[index + 1])
    local step = tonumber(string.match(name, '^(%d+):'))
    if not step then
      entry.held = amount
    elseif step < oldest then
      over[#over + 1] = name
    else
      if not sums[step] then steps[#steps + 1] = step end
      sums[step] = (sums[step] or 0) + amount
      entry.spent = entry.spent + amount
    end
  end
  if #over > 0 then redis.call('HDEL', entry.key, unpack(over)) end
  entry.used = entry.held + entry.spent
  table.sort(steps)
  for index, step in ipairs(steps) do steps[index] = {step, sums[step]} end
  spent_in[entry.key] = steps
end

rolling.fits = total.fits

function rolling.take(entry, ttl)
  hold(entry, 1)
  keep(entry.key, entry.length + entry.step + ttl)
  if (entry.surplus or 0) ~= 0 then keep(entry.apart, entry.length + entry.step + ttl) end
end

rolling.insist = rolling.take

function rolling.expire(entry)
  hold(entry, -1)
  keep(entry.key, entry.length + entry.step)
end

rolling.release = rolling.expire

function rolling.spend(entry, amount)
  if amount == 0 then return 0 end
  redis.call('HINCRBY', entry.key, text(entry.at) .. ':' .. of_ledger, text(amount))
  keep(entry.key, entry.length + entry.step)
  if entry.unit ~= 'nano_usd' then return 0 end
  rolling.read(entry)
  return math.min(math.max(0, entry.spent - entry.limit), amount)
end

function rolling.settle(entry, amount)
  hold(entry, -1)
  return rolling.spend(entry, amount)
end

-- Until a step does not count any more.
local function over_in(entry, step)
  return (step + 1) * entry.step + entry.length - now
end

function rolling.status(entry)
  local steps = spent_in[entry.key]
  local last = steps[#steps]
  return math.max(0, entry.limit - entry.used), last and over_in(entry, last[1]) or 0,
    entry.held, entry.back
end

-- It ends at no instant: whoever tells of it once a window takes the next multiple of its length.
function rolling.told_until(entry)
  return (math.floor(now / entry.length) + 1) * entry.length
end

function rolling.retry(entry)
  local lacks, wait = entry.used + entry.take - entry.limit, SECOND
  for _, step in ipairs(spent_in[entry.key]) do
    wait = over_in(entry, step[1])
    lacks = lacks - step[2]
    if lacks <= 0 then break end
  end
  return wait
end

-- concurrent: the holds that are alive ---------------------------------------------------------------

local gauge = {}

function gauge.open(claim)
  return {
    unit = claim.unit, take = claim.take, limit = claim.limit,
    key = prefix .. 'alive:' .. claim.scope .. ':' .. claim.window,
  }
end

function gauge.read(entry)
  redis.call('ZREMRANGEBYSCORE', entry.key, '-inf', text(now))
  entry.used = redis.call('ZCARD', entry.key)
end

function gauge.fits(entry)
  return entry.used + entry.take <= entry.limit
end

function gauge.take(entry, ttl)
  redis.call('ZADD', entry.key, text(now + ttl), id)
  keep(entry.key, ttl)
end

gauge.insist = gauge.take

function gauge.settle(entry, _, hold)
  redis.call('ZREM', entry.key, hold)
  return 0
end

function gauge.release(entry, hold)
  redis.call('ZREM', entry.key, hold)
end

gauge.expire = gauge.release

function gauge.status(entry)
  return math.max(0, entry.limit - entry.used), 0
end

function gauge.retry()
  return SECOND
end

local KINDS = {requests = rate, concurrent = gauge}

local function kind_of(entry)
  if entry.step then return rolling end
  return KINDS[entry.unit] or total
end

local function open(claim)
  local window = windows[claim.window]
  local kind = window and window[1] == 1 and rolling or KINDS[claim.unit] or total
  return kind.open(claim), kind
end
