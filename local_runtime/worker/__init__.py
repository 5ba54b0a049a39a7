"""The worker's process: one app, its model loaded, its calls.

``process`` is the program, two threads. In the socket's thread ``calls`` takes calls in from each
``peer``; the ``dispatcher`` brings each, as one of its ``jobs``, to its answer, and asks the
``schedule`` what may start now (``shared_schedule`` locks it for both threads, ``batcher`` says
when a batch leaves). In the model's thread ``startup`` imports the app, loads and warms it up;
then ``engine`` runs handlers, and ``stepper_loop`` those that advance by steps, together
(``continuous_batch``); ``requests`` makes what they are given, and ``results`` turns their values
and exceptions into events.

``models/`` shares memory among several models; ``model_admission`` decides which call has its
model and which waits (``no_models`` is that for an app without any). ``lifeline`` tells the
supervisor that the worker lives, and ends it with the supervisor; ``footprint`` says what it
occupies.
"""
