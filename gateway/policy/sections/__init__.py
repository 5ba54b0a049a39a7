"""The sections of a policy, each by itself: frozen values, and how those are read that no shape
describes.

``aliases`` reads other names of models, ``model_names`` is what these stand for: callers get
versions of one by ``user_shares``; ``price`` is what a backend charges, ``image_rates`` that for
an image by its size and quality, ``price_dates`` reads the dates of several and of commitments,
``price_tables`` those that come with the gateway, as the files of ``prices/``; ``cors`` says which
pages of browsers may call, ``console`` who else may sign in to it; ``commitments`` is what is paid
for calls or none; ``keys`` says which may be made; ``limits`` is how much of what each scope may
use; ``server`` says where it listens, ``store`` where counters, rows, keys and jobs are, and for
how long; ``endpoints`` are those of one backend in several regions, ``regions`` says where callers
are, ``hedge`` when a slow call is asked of a second backend;
``reserve`` is what is rented by the hour, ``reserve_checks`` what cannot be of it;
``schedules`` are jobs and batches that begin by the clock; ``reconcile`` says when bills are asked
for, ``webhooks`` who is told of what; ``telemetry`` is who may read metrics and is told of traces,
``tokens`` what is held where a request does not show its tokens.
"""
