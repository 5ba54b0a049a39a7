"""What the benchmark can put in front of the upstream, in the order of the table.

``base`` says what a contender is; ``direct`` (none at all), ``nginx``, ``routers`` (those in Rust),
``litellm``, ``bifrost``, ``portkey`` and ``spillgate`` are the others; ``stores`` are what some
setups of the last one need.
"""

from __future__ import annotations

from benchmarks.gateway.contenders.base import Contender
from benchmarks.gateway.contenders.bifrost import Bifrost
from benchmarks.gateway.contenders.direct import Direct
from benchmarks.gateway.contenders.litellm import LiteLlm
from benchmarks.gateway.contenders.nginx import Nginx
from benchmarks.gateway.contenders.portkey import Portkey
from benchmarks.gateway.contenders.routers import ROUTERS
from benchmarks.gateway.contenders.spillgate import Setup, Spillgate
from benchmarks.gateway.target import RESPONSES

SETUPS = {
    "spillgate-wide": Setup(backends=20, routes=50),
    "spillgate-keys": Setup(keys=10_000),
    "spillgate-postgres": Setup(postgres=True),
    "spillgate-redis": Setup(redis=True),
    "spillgate-jobs": Setup(headers=(("Prefer", "wait=20"),)),
    "spillgate-responses": Setup(path=RESPONSES),
    "spillgate-tls": Setup(tls=True),
    "spillgate-2": Setup(processes=2),
}
"""Of Spillgate, each beside the plain one."""
ALL: tuple[Contender, ...] = (
    Direct(),
    Nginx(),
    *ROUTERS,
    LiteLlm(),
    Bifrost(),
    Portkey(),
    Spillgate(name="spillgate"),
    Spillgate(name="spillgate-local", setup=Setup(local=True)),
    *(Spillgate(name=name, setup=setup) for name, setup in SETUPS.items()),
)
NAMES = tuple(contender.name for contender in ALL)
SLOW = frozenset(("litellm", "portkey", *SETUPS))
"""Left out of a quick run."""
