-- What wrk sends, and what it says at the end: one line of JSON, so that nobody reads its prose.
local folder = os.getenv("BENCH_FOLDER")
wrk.method = "POST"
wrk.body = io.open(folder .. "/body", "rb"):read("*a")
wrk.headers["Content-Type"] = "application/json"
for name, value in os.getenv("BENCH_HEADERS"):gmatch("([^:\n]+): ([^\n]+)") do
  wrk.headers[name] = value
end

local keys = {}
for key in io.lines(folder .. "/keys") do
  keys[#keys + 1] = key
end
wrk.headers["Authorization"] = "Bearer " .. keys[1]

if #keys > 1 then
  local requests, turn = {}, 0

  -- Made once: to make each again would take the core that others need.
  function init(args)
    for place, key in ipairs(keys) do
      wrk.headers["Authorization"] = "Bearer " .. key
      requests[place] = wrk.format()
    end
  end

  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    'result {"requests":%d,"duration_us":%d,"p50_us":%.0f,"p99_us":%.0f,"refused":%d,"broken":%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
