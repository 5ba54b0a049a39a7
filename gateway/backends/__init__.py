"""The backends of the active policy while they run.

``live`` is one backend, ``candidates`` how the router sees it, ``demands`` what must be known of a
call because of what a model's backends take; ``leases`` are the calls that have a
place at it, ``standing`` whether it may be asked, ``rests`` its health and when it is left alone,
``outages`` when it comes back;
``current_price`` is what it charges now, ``use_reader`` how much it was used, for prices that
depend on that; ``machine_share`` is whose a shared machine is at every instant. ``learned`` is what
its calls have taught: run times, starts, warm workers. ``engine_line`` is what an engine says of
all its calls, those of others among them. ``platform_workers`` are those that a call would find
warm, ``held_workers`` those of them that a platform was told to keep. ``concurrency`` is how many
calls are sent to one at once, ``slots`` those that run, and the line of those that wait;
``line_room`` is what room there is beside them for the lines of batches,
``shared_bound`` is one process's part of that, where several serve, and ``use_in_all`` what it
knows of the others' calls. ``redaction`` keeps a backend's secrets out of answers that repeat them.
"""
