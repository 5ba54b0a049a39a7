"""Apps and servers that tests start as processes of their own; none is a test.

Most are apps of the runtime, named for what they do (``echo``, ``hold``, ``slow_start``,
``spell``); ``stage`` and ``potassium_stage`` do what the contract's scenarios ask. ``broken/``
fail on purpose, ``ledger/`` are killed while they write, ``runpod/`` run on RunPod's own SDK.
"""
