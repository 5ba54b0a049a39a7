"""The worker's process: one app, its model loaded, its calls.

``process`` is the program, two threads: ``startup`` imports, loads and warms up, then ``engine``
runs handlers in the model's thread, ``stepper_loop`` those that advance by steps (which advance
together: ``continuous_batch``). In the socket's thread ``calls`` takes calls in from each
``peer``; the ``dispatcher`` brings each, as one of its ``jobs``, to its answer, and asks the
``schedule`` what may start (``shared_schedule`` locks it for both threads, ``batcher`` says when a
batch leaves). ``results`` turns values and
exceptions into events. ``models/`` shares memory among several models. ``lifeline`` and
``footprint`` report to the supervisor that it lives, and to callers what it occupies.
"""
