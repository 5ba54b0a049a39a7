"""Real groups of Redis servers for a test: a cluster with replicas, and a primary under Sentinels.

Each is used as a context manager, in a folder of its own; servers end by their own process ids.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.tls.files import TlsMaterial
from tests.live import free_port
from tests.redis_server import RedisServer

_FORMED_S = 30.0
_SLOTS = 16_384
_NOTICED_MS = 1000
"""How long a primary is silent until the others agree that it is gone."""
KEY = "spillgate:{limits}:holds"


def _within(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FORMED_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if holds():
                return
        time.sleep(0.05)  # real processes need real time
    raise TimeoutError(f"{what}: not within {_FORMED_S:g} s")


def _tls_options(material: TlsMaterial, port: int) -> list[str]:
    assert material.ca is not None
    return [
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-replication", "yes"),
        *("--tls-cert-file", str(material.cert), "--tls-key-file", str(material.key)),
        *("--tls-ca-cert-file", str(material.ca)),
    ]


class RedisGroup:
    """Servers that start and end together."""

    def __init__(self) -> None:
        self.servers: list[RedisServer] = []

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def primary(self) -> RedisServer:
        """The one that has our keys now."""
        raise NotImplementedError

    def command(self, *parts: str) -> bytes:
        """The primary's reply."""
        return self.primary.command(*parts)

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class ClusterServers(RedisGroup):
    """Three primaries and a replica of each. With ``tls`` everything but ``command`` is TLS."""

    def __init__(self, folder: Path, tls: TlsMaterial | None = None) -> None:
        super().__init__()
        self._tls = tls
        self._ports: list[int] = []
        self._buses: list[int] = []
        for number in range(6):
            place = folder / f"node{number}"
            place.mkdir(parents=True)
            self._buses.append(free_port())
            options = [
                *("--dir", str(place), "--cluster-enabled", "yes"),
                *("--cluster-port", str(self._buses[-1])),
                *("--cluster-node-timeout", str(_NOTICED_MS), "--repl-diskless-sync-delay", "0"),
            ]
            port = free_port()
            if tls is not None:
                options += [*_tls_options(tls, port), "--tls-cluster", "yes"]
            self.servers.append(RedisServer(*options))
            self._ports.append(self.servers[-1].port if tls is None else port)

    @property
    def url(self) -> str:
        """Of the second and third node: the first one may be gone."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports[1:3])
        if self._tls is None:
            return f"redis+cluster://{hosts}"
        return f"rediss+cluster://{hosts}?ca_file={self._tls.ca}"

    def start(self) -> None:
        super().start()
        first, step = self.servers[0], _SLOTS // 3
        for number, server in enumerate(self.servers):
            if number:
                port, bus = str(self._ports[number]), str(self._buses[number])
                first.command("CLUSTER", "MEET", "127.0.0.1", port, bus)
            if number < 3:
                last = _SLOTS if number == 2 else (number + 1) * step
                server.command("CLUSTER", "ADDSLOTSRANGE", str(number * step), str(last - 1))
        _within("the nodes meet", self._have_met)
        for primary, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            name = primary.command("CLUSTER", "MYID").split(b"\r\n")[1].decode()
            replica.command("CLUSTER", "REPLICATE", name)
        _within("the cluster is whole", self._is_whole)

    def _have_met(self) -> bool:
        return all(self._says(one, "cluster_known_nodes:6") for one in self.servers)

    def _says(self, server: RedisServer, line: str) -> bool:
        return line.encode() in server.command("CLUSTER", "INFO")

    def _is_whole(self) -> bool:
        """Every node knows of every replica, without which none would be chosen."""
        return all(
            self._says(one, "cluster_state:ok")
            and one.command("CLUSTER", "NODES").count(b"slave") == 3
            for one in self.servers
        ) and all(
            b"master_link_status:up" in one.command("INFO", "replication")
            for one in self.servers[3:]
        )

    @property
    def primary(self) -> RedisServer:
        for server in self.servers:
            with contextlib.suppress(OSError):
                answer = server.command("EXISTS", KEY)
                if answer.startswith(b":") and b"role:master" in server.command(
                    "INFO", "replication"
                ):
                    return server
        raise TimeoutError("no node has the slot")


class SentinelServers(RedisGroup):
    """A primary, two replicas and three Sentinels that call it ``limits``."""

    def __init__(self, folder: Path, tls: TlsMaterial | None = None) -> None:
        super().__init__()
        self._folder = folder
        self._tls = tls
        self._ports: list[int] = []
        for number in range(3):
            place = folder / f"server{number}"
            place.mkdir(parents=True)
            options = ["--dir", str(place), "--repl-diskless-sync-delay", "0"]
            port = free_port()
            if tls is not None:
                options += _tls_options(tls, port)
            if number:
                options += ["--replicaof", "127.0.0.1", str(self._ports[0])]
            self.servers.append(RedisServer(*options))
            self._ports.append(self.servers[-1].port if tls is None else port)
        self.sentinels = [free_port() for _ in range(3)]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        if self._tls is None:
            return f"redis+sentinel://{hosts}/limits"
        return f"rediss+sentinel://{hosts}/limits?ca_file={self._tls.ca}"

    def start(self) -> None:
        super().start()
        _within(
            "the replicas follow",
            lambda: all(
                b"master_link_status:up" in one.command("INFO", "replication")
                for one in self.servers[1:]
            ),
        )
        for port in self.sentinels:
            self._start_sentinel(port)
        _within(
            "the Sentinels know each other",
            lambda: all(self._sees_all(port) for port in self.sentinels),
        )

    def _start_sentinel(self, port: int) -> None:
        place = self._folder / f"sentinel{port}"
        place.mkdir()
        lines = [f"dir {place}", f"sentinel monitor limits 127.0.0.1 {self._ports[0]} 2"]
        lines += [
            f"sentinel down-after-milliseconds limits {_NOTICED_MS}",
            "sentinel failover-timeout limits 3000",
        ]
        if self._tls is not None:
            options = _tls_options(self._tls, port)
            lines += [" ".join(pair)[2:] for pair in zip(options[::2], options[1::2], strict=True)]
        lines.append(f"port {0 if self._tls is not None else port}")
        file = place / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        self._processes.append(
            subprocess.Popen(
                ["redis-server", str(file), "--sentinel"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _sees_all(self, port: int) -> bool:
        tls = [] if self._tls is None else ["--tls", "--cacert", str(self._tls.ca)]
        asked = ["redis-cli", *tls, "-p", str(port), "SENTINEL", "MASTER", "limits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.split("\n")
        found = dict(zip(said[::2], said[1::2], strict=False))
        return found.get("num-other-sentinels") == "2" and found.get("num-slaves") == "2"

    @property
    def primary(self) -> RedisServer:
        for server in self.servers:
            with contextlib.suppress(OSError):
                if b"role:master" in server.command("INFO", "replication"):
                    return server
        raise TimeoutError("no server is the primary")

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(timeout=10)
        self._processes = []
        super().stop()
