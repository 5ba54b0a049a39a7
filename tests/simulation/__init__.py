"""Whole gateways in one thread, whose time, order and luck come from one number.

A seed is a day in the life of one to three gateways: callers who leave, backends that fail in every
way, stores that stall, refuse, forget and lose their answers, policies that change, processes that
are killed between any two steps. What holds however that goes is in ``invariants``; a seed on which
it does not hold is run again, to the same end, by ``python -m tests.simulation --first SEED``.

Read ``world``, which puts it together, then ``invariants``. ``loop`` is asyncio's with a clock and
an order of its own, ``network`` what lies between a process and a server; ``shared_server`` and
``ledger_server`` are the stores, ``platforms`` the backends, ``policies`` what is configured,
``gateways`` the processes, ``callers`` who calls, ``faults`` what goes wrong and when.
"""
