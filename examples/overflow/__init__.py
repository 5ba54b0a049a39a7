"""A stand-in for a serverless GPU platform: RunPod's protocol in front of RunPod's own worker.

The queue, its HTTP surface and the starting and ending of workers are written here; what runs a
job is the worker program of RunPod's SDK, started on the first job (a real cold start) and ended
when it has been idle (scale to zero).

``app`` is the HTTP surface, answering in the shapes of ``replies``; ``platform`` is what its
routes act on: the queue of ``jobs`` and the ``workers``, as many as are wanted. ``worker`` is the
program of one, tied to its parent by ``leash``. ``management`` is the management API, ``meter``
the bill.
"""
