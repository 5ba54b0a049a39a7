"""What a user may copy: apps of the runtime, a kind of backend, and a stand-in for a platform.

Apps, each a model that ``kind: local`` serves, or
``python -m local_runtime examples/textgen.py:app``: ``embeddings`` (batches, OpenAI's shape),
``textgen`` (continuous batching, streams), ``images`` (bytes in), ``reports`` (a background job
with a webhook). ``adapter_package/`` is a kind of backend in a package of its own, with the tests
that it must pass. ``overflow/`` speaks RunPod's protocol on this machine, so that ``make serve``
has something to spill to.
"""
