"""torch done right for an app that likes it, in the worker's process; no other module needs torch.

``served`` makes a model ready to answer: on a device of ``devices``, with ``weights`` straight
from files, in the fixed shapes of ``buckets`` and CUDA graphs. Text: ``decoding`` steps many
sequences together, ``tokens`` turns logits into tokens and tokens into text.
"""

from local_runtime.pytorch.buckets import Buckets, doubling
from local_runtime.pytorch.devices import device_of
from local_runtime.pytorch.served import Served
from local_runtime.pytorch.weights import load

__all__ = ["Buckets", "Served", "device_of", "doubling", "load"]
