"""The adapters, each against something real or scripted: a folder for each kind.

``test_contract`` plays the suite that all kinds pass (``spillgate_contract``) on the ``stages`` of
our own kinds; a kind's ``stage`` lies in its folder and says how each of the ``scenarios`` is
asked of it. ``test_every_kind`` is what goes wrong with HTTP in general, on every kind.
``servers`` are scripted by a test in its own loop, ``served`` apps run in a thread. ``fake_stage``
is the fake's.
"""
