"""Batches: many calls that nobody waits for, a line of a file each.

A line is a durable job (``gateway/jobs/``), of the lowest rank: it is held for, run, cancelled and
settled as any other, and never begun twice. ``input`` reads the lines of a file, ``records`` is
what is written down of a batch, ``names`` which models its lines mean, and ``budget`` is what its
lines may cost together; ``feeding`` makes jobs of the next lines, as many as there is use for;
``results`` writes what became of them into files. ``run`` is one batch on one lease, from the look
at its input to its end; ``worker`` takes batches from the store. ``views`` is what callers are
told, and ``batches`` puts it all together.
"""
