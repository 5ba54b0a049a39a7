"""What torch costs under the local runtime, and what fixed shapes and graphs save.

``python -m benchmarks.gpu`` measures ``models``: batches of growing size (``sweep``), a ``cold``
start in its parts, the ``overhead`` of the runtime's socket; ``report`` shows it.
"""
