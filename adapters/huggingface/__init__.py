"""Hugging Face's Inference Endpoints, which may be scaled to zero.

``backend`` runs the calls; ``api`` asks the management API and says what a 503 means (asleep,
starting, or broken); ``stream`` reads the token streams of TGI.
"""

from adapters.huggingface.backend import HuggingFace

__all__ = ["HuggingFace"]
