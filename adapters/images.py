"""What an image is, as requests and answers say it."""

from __future__ import annotations

from adapters.types import ImageKind


def image_kind(size: object, quality: object) -> ImageKind:
    """From what a request or an answer says; what is left to the server (``auto``) is not said."""
    return ImageKind(*map(_said_of_image, (size, quality)))


def _said_of_image(value: object) -> str:
    said = value.strip().lower() if isinstance(value, str) else ""
    return "" if said == "auto" else said
