"""Modal: deployed functions by its own SDK, and web endpoints by HTTPS.

``backend`` chooses the way that the ``settings`` name. Functions: ``functions`` calls them over
the one ``connection`` to Modal; ``values`` is the calling convention, ``stream`` reads what a
generator yields, ``jobs`` are calls that outlive their caller, ``failures`` says what Modal's
exceptions mean. ``sdk`` alone touches Modal's package, which it imports when a call first needs
it. Web endpoints: ``web``. What an app costs: ``bill``.
"""

from adapters.modal.backend import Modal

__all__ = ["Modal"]
