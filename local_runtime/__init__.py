"""The warm GPU runtime: write ``init`` and ``handler``, and it keeps the model loaded.

Stands alone: knows nothing of the gateway or its adapters.
"""

from local_runtime.api import Batch, Runtime, Step, Stepper
from local_runtime.request import InvalidInput, Request, Response

__all__ = ["Batch", "InvalidInput", "Request", "Response", "Runtime", "Step", "Stepper"]
