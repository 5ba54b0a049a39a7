"""What a Redis server says of its part among others: who it is, and who else is asked.

Sources: redis.io/docs/latest/commands/info (replication), and the codes of errors of the Redis
Cluster specification. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.storage.redis.resp import Reply, pack

ASK_REPLICATION = pack((b"INFO", b"replication"))
_HISTORY = re.compile(rb"^master_replid:([0-9a-f]{40})", re.MULTILINE)
_REPLICA = re.compile(rb"^role:slave", re.MULTILINE)
_ELSEWHERE = ("MOVED", "READONLY", "MASTERDOWN", "CLUSTERDOWN")
_NOBODY = (
    *_ELSEWHERE,
    *("ASK", "TRYAGAIN", "LOADING", "OOM", "MISCONF", "BUSY", "NOREPLICAS"),
    *("NOAUTH", "NOPERM", "WRONGPASS", "ERR max number of clients"),
)
_MOVING = "non local key"
"""Of a script, while the slot of its keys moves to another node."""


class Replication(NamedTuple):
    """``history`` names the line of writes that the server holds, empty where it does not tell: a
    replica that takes over begins another one, and so does a server that starts anew."""

    is_replica: bool = False
    history: str = ""


def read_replication(reply: Reply) -> Replication:
    """Of the answer to ``ASK_REPLICATION``; nothing of one that refuses to tell."""
    if not isinstance(reply, bytes):
        return Replication()
    history = _HISTORY.search(reply)
    return Replication(bool(_REPLICA.search(reply)), history[1].decode() if history else "")


def serves_elsewhere(error: str) -> bool:
    """Whether the text of an error means that our keys have another primary, or none now."""
    return error.startswith(_ELSEWHERE)


def serves_nobody(error: str) -> bool:
    """Whether it means that no command of ours is taken at the moment."""
    return error.startswith(_NOBODY) or _MOVING in error
