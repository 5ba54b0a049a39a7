"""Replicate's cloud.

``backend`` runs the calls as predictions, ``api`` makes the requests, ``stream`` reads event
streams. Large inputs go by URL: ``uploads`` puts them into a bucket, ``sigv4`` signs its URLs.
``webhook_signature`` checks that a webhook is Replicate's; nothing here calls it, receivers do.
"""

from adapters.replicate.backend import Replicate
from adapters.replicate.webhook_signature import is_genuine

__all__ = ["Replicate", "is_genuine"]
