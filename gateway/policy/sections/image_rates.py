"""What an image costs by its size and quality, where a price differs by them. Pure."""

from __future__ import annotations

import msgspec

from adapters.types import ImageKind
from gateway.policy.sections.price import ImageRates, Price


class ImageRate(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars of one image."""

    nano: int
    sure: bool
    """Whether nothing more could be said of the image that would make it cost something else."""


def rate_of(price: Price, kind: ImageKind) -> ImageRate:
    """By the first entry that the image is of, else the price's own; the dearest of those that it
    may be of, where its kind does not say."""
    possible = []
    for one in price.by_image:
        fits = _fits(one, kind)
        if fits is not False:
            possible.append(one.per_image)
        if fits:
            break
    else:
        possible.append(price.per_image or 0)
    return ImageRate(max(possible), len(set(possible)) == 1)


def priced_as(price: Price, kind: ImageKind) -> Price:
    """The price whose ``per_image`` is that of the kind, and which differs by none."""
    return msgspec.structs.replace(price, per_image=rate_of(price, kind).nano, by_image=())


def _fits(rates: ImageRates, kind: ImageKind) -> bool | None:
    """None: nobody knows."""
    found = (_same(rates.size, kind.size), _same(rates.quality, kind.quality))
    return False if False in found else None if None in found else True


def _same(wanted: str, said: str) -> bool | None:
    if not wanted:
        return True
    return None if not said else wanted.strip().lower() == said
