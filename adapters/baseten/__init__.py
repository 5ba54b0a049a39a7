"""Baseten: a dedicated model deployment, called and waited for, or answered by a webhook.

``backend`` runs the calls; ``api`` has the settings, and each request to the model's host and to
the management API as a value; ``bill`` reads what the organization is billed for the model.
"""

from adapters.baseten.backend import Baseten

__all__ = ["Baseten"]
