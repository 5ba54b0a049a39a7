-- The third part of the script that counters.lua begins: signs of life, and what a gateway did while
-- it could not ask.
--
--   gateways                         a sorted set: gateway -> when its last sign of life is too old
--
-- Each operation reads its input from the variables of the first part, so a step of a catch-up is
-- another operation with other inputs.

local LIFE = 5 * SECOND

local function sign(gateway)
  local key = prefix .. 'gateways'
  redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
  redis.call('ZADD', key, text(now + LIFE), gateway)
  keep(key, LIFE)
  return redis.call('ZCARD', key)
end

local function as(hold, what, name)
  id, input = hold, what
  return tonumber(operations[name]() or 0)
end

-- -> {restored, living gateways, filled}; the id is the gateway's.
function operations.beat()
  return cmsgpack.pack({restored(), sign(id), filled()})
end

-- -> 1: the gateway ends.
function operations.leave()
  redis.call('ZREM', prefix .. 'gateways', id)
  return 1
end

local function take(batch, missed)
  local today, past = now, 0
  for index, spent in ipairs(missed[2]) do
    local claim = spent[1]
    now = spent[2]
    past = math.max(past, as(batch .. ':' .. index, {{claim}, {[claim.unit] = claim.take}}, 'settle'))
  end
  now = today
  for _, settled in ipairs(missed[3]) do
    past = past + as(settled[1], {settled[2], settled[3]}, 'settle')
  end
  return past
end

-- {gateway, {{claim, at}...}, {{hold, claims, actual}...}, {hold...}, {{hold, claims, ttl}...},
-- {{hold, unit, more}...}, the fill that was told last} -> {restored, living gateways, nano-dollars past
-- a limit, 1 or 0}. The id is the batch's: it is taken once. Where somebody has filled since from the same
-- ledger, its sums may have what the first two tell: they are not taken, the last number is 0, and whoever
-- asks has to fill.
function operations.catch_up()
  local batch, missed = id, input
  local living, past = sign(missed[1]), 0
  local taken = ARGV[5] == '' or filled() == missed[7]
  local done = prefix .. 'ended:' .. batch
  if redis.call('EXISTS', done) == 0 then
    if taken then
      past = take(batch, missed)
    else
      for _, settled in ipairs(missed[3]) do expire(settled[1]) end
    end
    for _, hold in ipairs(missed[4]) do as(hold, nil, 'release') end
    for _, held in ipairs(missed[5]) do as(held[1], {held[2], held[3]}, 'reinstate') end
    for _, more in ipairs(missed[6]) do as(more[1], {more[2], more[3]}, 'extend') end
    redis.call('SET', done, '', 'PX', 3660000)
  end
  return cmsgpack.pack({restored(), living, past, taken and 1 or 0})
end

-- On a node that is giving our slot away, what is missing is said to be elsewhere: then nothing has
-- been written yet.
redis.call('EXISTS', prefix .. 'nothing')

return operations[operation]()
