"""One call from its admission to its settlement, with no HTTP.

``dispatcher`` is the story: admit the call, walk from backend to backend, return an answer;
``stream`` is one that comes in pieces and ends its call itself, also when its reader leaves in the
middle, with the events of ``stream_events`` that the gateway adds. ``state`` is what is known of
the call on the way, ``admission`` what it holds, ``attempt`` of its try at one backend, ``history``
what is kept of those that failed; ``completion`` ends it, each way once, and has it settled, which
is its ``ending``; ``rows`` are what the ledger is told of it.
``admitting`` holds what a call may cost. ``refusals`` is what a caller is told when a call is not
served: no backend, a limit, a store or a ledger that fails.
``slow_clients`` counts what waits for clients before a call begins and after it has ended.
``failover`` is what is done after a failed attempt, ``backend_limits`` what a backend's own limits
hold of one, and ``repeating`` its way into the next one, within the budgets of repetitions.
``larger_model`` is where a call goes that was too long for its model, ``model_limits`` what the
limits of that one hold of it.
``entering`` takes it into a backend; ``answer_limit`` bounds how long one may bring nothing.
``rerouting`` calls a waiting call away to a backend that would now be sooner; ``top_up`` holds more
money before a long run has used up what is held for it.
``job_calls`` are those that are durable jobs; ``promised`` settles the background calls whose
caller has been answered, when their work has ended.
"""
