"""The warm GPU runtime: write ``init`` and ``handler``, and it keeps the model loaded.

Stands alone: knows nothing of the gateway or its adapters.
"""

from local_runtime.app.request import InvalidInput, Request, Response
from local_runtime.app.runtime import Batch, Runtime, Step, Stepper

__all__ = ["Batch", "InvalidInput", "Request", "Response", "Runtime", "Step", "Stepper"]
