"""torch done right for an app that likes it: device, weights, fixed shapes, CUDA graphs.

An app may use it or leave it; the runtime itself never imports it, nor torch.
"""

from local_runtime.pytorch.buckets import Buckets, doubling
from local_runtime.pytorch.devices import device_of
from local_runtime.pytorch.served import Served
from local_runtime.pytorch.weights import load

__all__ = ["Buckets", "Served", "device_of", "doubling", "load"]
