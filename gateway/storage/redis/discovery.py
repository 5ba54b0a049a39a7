"""Which server of a Redis Cluster, or of those that Sentinels watch, is our keys' primary now.

redis-py asks; commands go over our own connection, since all our keys lie in one slot and so on
one server. Sources: the Redis Cluster specification and the guidelines for Sentinel clients,
redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec and sentinel-clients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

from gateway.storage.base import StorageUnavailable
from gateway.storage.redis.primary import Primary
from gateway.store_urls import Address, ServerGroup

_ANSWERS_S = 0.5
"""How long one server of the group is given to connect and to answer, before the next is asked."""


def primary_of(group: ServerGroup, key: str) -> Primary:
    """Finds the primary of ``key`` in a cluster, or the one that Sentinels have chosen."""
    return SentinelPrimary(group) if group.kind == "sentinel" else ClusterPrimary(group, key)


class ClusterPrimary:
    """Asks one node after another which of them has the slot of ``key``."""

    def __init__(self, group: ServerGroup, key: str) -> None:
        self._group = group
        self._slot = key_slot(key.encode())
        self._hosts = deque(group.hosts)

    def __repr__(self) -> str:
        return repr(self._group)

    async def find(self) -> Address:
        troubles: list[str] = []
        for host, port in tuple(self._hosts):
            self._hosts.rotate(-1)  # one that is cut off must not be the first to be asked for ever
            try:
                found = await self._ask(host, port)
            except (RedisError, OSError, LookupError, TypeError, ValueError) as error:
                troubles.append(f"{host}:{port}: {error}")
                continue
            if found is not None:
                self._learn(found)
                return msgspec.structs.replace(self._group.entry, host=found[0], port=found[1])
            troubles.append(f"{host}:{port}: nobody has slot {self._slot}")
        raise StorageUnavailable(f"no node of the cluster says who is who: {'; '.join(troubles)}")

    async def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        entry = self._group.entry
        who = _who(entry.username, entry.password.reveal())
        client: Any = Redis(host=host, port=port, **_waits(), **_tls(entry), **who)
        try:
            slots = await client.execute_command("CLUSTER SLOTS")
        finally:
            await client.aclose()
        for first, last, primary, *_ in slots:
            if first <= self._slot <= last:
                return _text(primary[0]) or host, int(primary[1])
        return None

    def _learn(self, found: tuple[str, int]) -> None:
        """Whoever was a primary is asked too: the nodes of the URL may all be gone one day."""
        if found not in self._hosts:
            self._hosts.append(found)


class SentinelPrimary:
    """Asks one Sentinel after another for the primary of the group's name."""

    def __init__(self, group: ServerGroup) -> None:
        self._group = group

    def __repr__(self) -> str:
        return repr(self._group)

    async def find(self) -> Address:
        group = self._group
        entry = group.entry
        who = _who(entry.username, entry.password.reveal()) if group.same_entry else {}
        options = {**_waits(), **_tls(entry), **who}
        sentinel: Callable[..., Any] = Sentinel  # untyped in redis-py
        asked = sentinel(list(group.hosts), sentinel_kwargs=options)
        try:
            host, port = await asked.discover_master(group.name)
        except RedisError as error:
            raise StorageUnavailable(f"the Sentinels name no primary: {error}") from None
        finally:
            for client in asked.sentinels:
                await client.aclose()
        return msgspec.structs.replace(group.entry, host=str(host), port=int(port))


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""


def _waits() -> dict[str, Any]:
    return {
        "socket_timeout": _ANSWERS_S,
        "socket_connect_timeout": _ANSWERS_S,
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(entry: Address) -> dict[str, Any]:
    if entry.scheme != "rediss":
        return {}
    return {"ssl": True, "ssl_ca_certs": entry.ca_file or None}


def _who(username: str, password: str) -> dict[str, Any]:
    return {"username": username or None, "password": password or None}
