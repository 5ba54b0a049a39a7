"""What is told to a client whose request cannot be read, or does not come."""

from __future__ import annotations

from local_runtime.http.errors import Refusal

NO_HTTP = Refusal(400, "invalid_http", "What was sent is not a valid HTTP/1.1 request.")
NO_HOST = Refusal(
    400, "invalid_http", "A request of HTTP/1.1 has one Host header, not none and not several."
)
TOO_SLOW = Refusal(408, "request_timeout", "The request did not come whole in time.")
TOO_LARGE = Refusal(431, "headers_too_large", "The request's headers are too large.")


class NotOneHost(ValueError):
    """Raised for a request of HTTP/1.1 without a Host header, or with several."""
