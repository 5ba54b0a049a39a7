"""Recorded traffic against a simulated fleet, on a virtual clock, by the planner that is the
gateway's: what would it cost, and how much better could it be?

``readers`` reads files by the ``formats`` of public recordings and of our own ledger into
``traffic``; ``platforms`` says what serverless workers cost and how they start. ``planned`` lets
the planner decide over a ``fleet``, whose seconds ``outcome`` sums up, with ``surges`` apart.
``references`` are fleets without a planner, ``clairvoyant`` is the plan that knows every call
beforehand, and the bound below it; ``comparison`` has them side by side, ``page`` draws them, with
``charts``.

``virtual/`` plays a policy instead: the gateway's own code, on a clock that leaps.

``conversations`` is what it costs that they change their backend, on a clock of their own.

``advice`` says what to reserve at the ``offers`` of the price tables. ``tuning`` says which way to
serve a policy's model would have cost less: ``policy_scenario`` is that model's prices and starts,
``ledger`` its calls, ``policy_edits`` change the policy's text.
"""
