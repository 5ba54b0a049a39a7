"""Backends of the end-to-end tests, each a program: ``paid`` counts its calls, ``moody`` does to
each call what the call asks for, ``parrot`` repeats whatever it was sent,
``faulty`` is in trouble until it is mended, and so is ``job_plane``, a queue that keeps a bill,
which ``runpod_plane``, ``replicate_plane``, ``baseten_plane``, ``potassium_plane`` and
``modal_plane`` speak each in its way, and in ``held_plane`` platforms that name no jobs.
"""
