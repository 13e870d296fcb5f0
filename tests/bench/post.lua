-- wrk script: each thread posts the lines of a file of its own, once each; past the end it repeats GET /health so that a
-- run that outlives its assertions shows as such (the summary counts 201s only).
local threads = {}
function setup(thread)
  thread:set("id", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  bodies = {}
  for line in io.lines(args[1] .. "." .. id) do
    bodies[#bodies + 1] = line
  end
  at = 0
  created = 0
  other = 0
  exhausted = 0
end

function request()
  at = at + 1
  if at > #bodies then
    exhausted = 1
    return wrk.format("GET", "/health")
  end
  return wrk.format("POST", "/v1/agent-sessions", { ["Content-Type"] = "application/json" }, bodies[at])
end

function response(status)
  if status == 201 then
    created = created + 1
  elseif at <= #bodies then
    other = other + 1
  end
end

function done(summary, latency)
  local created, other, exhausted = 0, 0, 0
  for _, t in ipairs(threads) do
    created = created + t:get("created")
    other = other + t:get("other")
    exhausted = exhausted + t:get("exhausted")
  end
  io.write(string.format(
    '\nRESULT {"created": %d, "other": %d, "exhausted": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "socket_errors": %d}\n',
    created, other, exhausted, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
