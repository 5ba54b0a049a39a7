"""Servers with Potassium's face.

``backend`` runs the calls, ``api`` has the settings and what a server says of itself, ``jobs``
follows background calls, ``stream`` reads streamed bodies.
"""

from adapters.potassium.backend import PotassiumBackend

__all__ = ["PotassiumBackend"]
