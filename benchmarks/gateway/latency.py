"""Latency that a contender adds, at one connection.

A plain blocking socket asks the upstream and the contender in turn, so that whatever else the
machine does falls on both alike; the difference of the two medians is what was added.
"""

from __future__ import annotations

import socket
import ssl
import statistics
import time

from benchmarks.gateway.target import Target

TIMEOUT = 20.0


class AnswerCut(Exception):
    """The connection ended inside an answer, or the answer was not a 200."""


class Connection:
    """One kept HTTP/1.1 connection that sends the same request again and again."""

    def __init__(self, target: Target) -> None:
        self._request = target.request()
        self._socket = _connect(target)

    def ask(self) -> float:
        """Sends the request, reads the whole answer; seconds that it took."""
        begun = time.perf_counter()
        self._socket.sendall(self._request)
        data = self._socket.recv(65536)
        while not complete(data):
            more = self._socket.recv(65536)
            if not more:
                raise AnswerCut(repr(data[:200]))
            data += more
        return time.perf_counter() - begun

    def close(self) -> None:
        self._socket.close()


def _connect(target: Target) -> socket.socket:
    plain = socket.create_connection(target.address, timeout=TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not target.tls:
        return plain
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the client is no subject of the measurement
    return context.wrap_socket(plain)


def complete(data: bytes) -> bool:
    """Whether ``data`` is a whole 200 answer. Raises AnswerCut where it is another status."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return False
    if b" 200 " not in head[:14]:
        raise AnswerCut(repr(data[:300]))
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(rest) >= int(line.split(b":")[1])
    return rest.endswith(b"0\r\n\r\n")


def added_ms(direct: Target, through: Target, *, pairs: int, budget: float) -> float:
    """Milliseconds at the median that ``through`` adds to ``direct``.

    Asks ``pairs`` times in turn, fewer where ``budget`` seconds are over; the first tenth warms.
    """
    connections = Connection(direct), Connection(through)
    try:
        samples = _in_turn(connections, pairs=pairs, end=time.monotonic() + budget)
    finally:
        for connection in connections:
            connection.close()
    warm = samples[len(samples) // 10 :]
    plain = statistics.median(sample[0] for sample in warm)
    passed = statistics.median(sample[1] for sample in warm)
    return (passed - plain) * 1000


def _in_turn(
    connections: tuple[Connection, Connection], *, pairs: int, end: float
) -> list[tuple[float, float]]:
    plain, passed = connections
    samples: list[tuple[float, float]] = []
    while len(samples) < pairs and (time.monotonic() < end or not samples):
        samples.append((plain.ask(), passed.ask()))
    return samples
