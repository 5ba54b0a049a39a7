"""Durable jobs: accepted, run by whoever has their lease, ended once.

``records`` is what is written down of a job; ``accepting`` holds what it may cost and puts it into
the store, ``digests`` tell requests of one name apart, ``held`` is what it holds until its end;
``run`` is one job at one backend, whose every step is in the store before the next, or
``meanwhile``, for as long as its ``time_limit`` says; ``unkept`` answers need no slot any more;
``spent`` is what its failed attempts cost; ``large`` is what is too large to travel inside of a
job.
``outcomes`` says what became of it; ``one_lease`` sees a job through, ``worker`` takes jobs from
the store, as many as there is room for, by ``turns``, in ``rounds`` that batches have as well,
beside ``renewals`` of their leases; ``ending`` ends them, and says who is ``told``; ``deliveries``
is what came of that. ``news`` tells who waits for one, ``views`` is what they are told;
``foreseen`` says when a job should begin. ``jobs`` puts it all together; ``following`` tells who
follows one what happens to it.
"""
