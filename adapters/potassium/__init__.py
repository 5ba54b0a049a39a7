"""Servers with Potassium's face: Potassium 0.5, this project's own runtime by itself, Banana's.

``backend`` runs the calls; ``api`` has the settings and what a server says of itself, ``jobs``
follows background calls by a handle, ``stream`` reads streamed bodies.
"""

from adapters.potassium.backend import PotassiumBackend

__all__ = ["PotassiumBackend"]
