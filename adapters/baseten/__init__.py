"""Baseten: a dedicated model deployment.

``backend`` runs the calls, ``api`` has the settings and what the model's host and the management
API are asked, ``bill`` what the organization is billed for the model.
"""

from adapters.baseten.backend import Baseten

__all__ = ["Baseten"]
