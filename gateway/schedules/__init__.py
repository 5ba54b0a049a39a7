"""Schedules: jobs and batches that begin by the clock, once over all gateways.

``instants`` says when a cron expression comes, ``changes`` which one holds when, ``missed`` what
becomes of instants that are due; all three are pure. ``payers`` finds the key that calls and pays,
``templates`` makes of a policy's words the job or batch of an instant; ``one_instant`` begins it,
in the store in the step in which its instant is decided. ``scheduler`` looks what is due, on a
lease; ``ahead`` tells who asks what comes next, ``last_batches`` how large a batch will be;
``views`` is what administrators are told.
"""
