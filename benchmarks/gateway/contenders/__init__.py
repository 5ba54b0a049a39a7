"""What the benchmark can put in front of the upstream, in the order of the table.

``base`` says what a contender is; ``direct`` (none at all), ``nginx``, ``sglang``, ``litellm`` and
``spillgate`` are one each.
"""

from __future__ import annotations

from benchmarks.gateway.contenders.base import Contender
from benchmarks.gateway.contenders.direct import Direct
from benchmarks.gateway.contenders.litellm import LiteLlm
from benchmarks.gateway.contenders.nginx import Nginx
from benchmarks.gateway.contenders.sglang import SglangRouter
from benchmarks.gateway.contenders.spillgate import Spillgate

ALL: tuple[Contender, ...] = (
    Direct(),
    Nginx(),
    SglangRouter(),
    LiteLlm(),
    Spillgate(name="spillgate"),
    Spillgate(name="spillgate-local", local=True),
    Spillgate(name="spillgate-tls", tls=True),
    Spillgate(name="spillgate-2", processes=2),
)
NAMES = tuple(contender.name for contender in ALL)
SLOW = frozenset(("litellm", "spillgate-tls", "spillgate-2"))
"""Left out of a quick run."""
