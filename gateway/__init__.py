"""The HTTPS service: keys, limits, budgets, routing, the ledger.

In the order of a call: it comes in through ``api``, or by other platforms' protocols through
``doors``; ``calls`` carries it from its admission to its settlement; ``routing`` decides which of
the ``backends`` gets it, and so whether it spills, and ``dialects`` asks one that knows other words
than the call's own; ``money`` says what it costs and whether its caller may spend that, and
``holds`` who waits for others to give back what was held too much; ``storage`` keeps the counters,
the ledger and the keys; ``events`` tells others of what happened. Between the calls ``warm`` wakes
backends before they are needed, ``jobs`` sees durable jobs to their end, ``batches`` makes many of
the lines of a file, ``schedules`` begin both by the clock, ``files`` keeps what callers store,
``streams`` what came of streams that have names, ``realtime`` holds conversations, ``responses``
what conversations go on from, ``hedging`` asks a second backend of slow calls, ``planning`` says
how much capacity there should be, ``reserve`` rents it by the hour, ``replay`` says what recorded
calls would cost by it, and ``bills`` puts what platforms billed beside the ledger, whose old rows
``archive`` moves to files; ``leading`` is what one process alone does for all: the warm pool, and
what goes over days that have ended. ``telemetry`` tells others by OpenTelemetry, and ``policy``
reads the YAML that says all this.

How it is put together: ``app`` makes a gateway from concrete stores, adapters and clocks;
``opening`` opens those; ``service`` is what runs then, with the ``active_policy`` that a reload
swaps whole, and that decides by a caller's ``preferences``; ``policies`` keeps every policy that
was in force, and puts another one there; ``trials`` are of one beside it; ``stored_work`` are files
and batches, put together; ``restore`` settles after a crash what was left open, and fills the
counters of limits again from the ledger. ``preflight`` finds what would keep a policy from being
served, ``listening`` whether its ports and certificate will do; ``named_files`` are read again on
SIGHUP; ``environment`` is where secrets come from. ``console`` are pages for browsers, ``cli`` is
the command line, ``tls`` makes certificates, ``processes`` is what several of them on one port have
in common, ``together`` what one of these may ask of all.

A key's life: ``key_requests`` is what a request for one may say, ``keys`` what one may be used for,
``tokens`` what it lends to browsers, ``api_keys`` makes its secret and its hash,
``storage/sqlite/keys`` keeps it, ``api/middleware`` refuses one that is unknown, revoked or
expired, and ``failed_keys`` bounds how many an address may try. Small things that several share:
``store_urls``, ``tag_values`` (how many a key may give a tag), ``access_log`` (a line for each call
that ended), ``log_lines`` (all lines, by one thread), ``metrics`` (what ``/metrics`` shows),
``readings`` (its gauges), ``shared_timer`` (one timer for all calls), ``tasks`` (work that may
outlive whoever began it), ``windows`` (of limits), ``clock``, ``types``.
"""
