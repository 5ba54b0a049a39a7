"""Recorded traffic: ``replay`` runs it against simulated workers, ``advise`` says what to reserve
for it, ``tune`` which change of the policy would save. ``conversations`` are made up.
``options`` tell them of a recording, of
prices and of a policy's model, ``beside`` does one part in a process of its own, and ``progress``
tells how far a long one has come."""
