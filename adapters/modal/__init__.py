"""Modal: deployed functions and web endpoints.

``backend`` chooses the way that the ``settings`` name. Functions: ``functions`` calls them,
``stream`` and ``jobs`` read what they yield and what outlives its caller, ``connection`` keeps one
session, ``values`` has the calling convention, ``sdk`` is the only file that touches Modal's own
package, ``failures`` says what its exceptions mean, ``bill`` what the app costs. Web endpoints:
``web``.
"""

from adapters.modal.backend import Modal

__all__ = ["Modal"]
