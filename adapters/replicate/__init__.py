"""Replicate's cloud: an official model, a deployment or a version.

``backend`` runs a call as a prediction: made, polled or streamed, and cancelled; ``api`` is each
request to the cloud, ``stream`` reads its event streams, ``bill`` the seconds that it bills. Large
inputs go by URL: ``uploads`` puts them into a bucket.
``webhook_signature`` checks that a webhook is Replicate's; nothing here calls it, receivers do.
"""

from adapters.replicate.backend import Replicate
from adapters.replicate.webhook_signature import is_genuine

__all__ = ["Replicate", "is_genuine"]
