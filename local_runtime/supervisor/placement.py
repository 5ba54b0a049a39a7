"""Which devices each worker sees. Pure: the devices that are present are passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker computes on."""

    device: str = "auto"
    """What the app reads (SPILLGATE_DEVICE), counted among the devices that it sees."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES; None: as in the supervisor's own environment."""


def placements(workers: int, device: str, present: Sequence[str]) -> tuple[Placement, ...]:
    """Where each of ``workers`` computes. ``device``: auto, cpu, cuda, cuda:0, or several by
    commas, which the workers take in turn. ``present``: the CUDA devices of this machine, as
    CUDA_VISIBLE_DEVICES names them.

    A worker that is given a device sees no other, so a library that allocates on its first one
    allocates on its own. ``auto`` and ``cuda`` deal all devices out: two workers on four devices
    see two each, and four workers on two share them in pairs.
    """
    wanted = [one.strip() for one in device.split(",")]
    return tuple(
        _placement(wanted[index % len(wanted)], index, workers, present) for index in range(workers)
    )


def present_devices(environment: Mapping[str, str], count: int) -> tuple[str, ...]:
    """The CUDA devices that may be used, of ``count`` on the machine. CUDA_VISIBLE_DEVICES may
    name fewer, or name them by UUID; what follows a -1 does not count (CUDA C++ Programming Guide,
    "CUDA Environment Variables")."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(str(number) for number in range(count))
    found: list[str] = []
    for one in named.split(","):
        if not one.strip() or one.strip() == "-1":
            break
        found.append(one.strip())
    return tuple(found)


def _placement(wanted: str, index: int, workers: int, present: Sequence[str]) -> Placement:
    if wanted == "cpu":
        return Placement(device=wanted, visible="")
    if wanted in {"auto", "cuda"} and present:
        own = present[index::workers] or (present[index % len(present)],)
        return Placement(device=wanted, visible=",".join(own))
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and number.isdecimal() and int(number) < len(present):
        return Placement(device="cuda:0", visible=present[int(number)])
    return Placement(device=wanted)
