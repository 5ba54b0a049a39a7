"""Hugging Face's Inference Endpoints.

``backend`` runs the calls, ``api`` asks the management API and says what a 503 means, ``stream``
reads the streams of TGI.
"""

from adapters.huggingface.backend import HuggingFace

__all__ = ["HuggingFace"]
