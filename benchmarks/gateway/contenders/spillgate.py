"""Spillgate as a user runs it: keys, limits of every kind in every scope, routing and the ledger
all on. TLS is off, as it is for the others, but in ``spillgate-tls``; none of them writes an access
log. A ``Setup`` says what else is different: more of something, or another store.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.environments import BENCH
from benchmarks.gateway.processes import HOST, ROOT, Child, Missing, StartFailed, free_port
from benchmarks.gateway.target import MODEL, PATH, Target
from benchmarks.gateway.upstream import status, wait_for_answer
from gateway.api_keys import digest_of, generate_key
from gateway.types import Principal

READY = 60.0
WORKERS = "local_runtime."
"""In the command line of the supervisor and of the workers that run the model."""
PROGRAM = Path(sys.executable).with_name("spillgate")
COMPILED = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(BENCH / "bytecode"),
}
"""For a process that is to find its bytecode compiled, as one that is installed does."""
_USERS = 500

CONFIG = """\
version: 1
server: {{listen: "{host}:{port}", tls: "{tls}", data: {folder}/data, access_log: false}}
store: {{ledger: "sqlite:///{folder}/data/ledger.db", shared: "memory://"}}
backends:
  model: {backend}
models:
  {model}: {{task: chat, backends: [model], slo: 30s}}
prices:
  tokens: {{per_million_input: 0.50, per_million_output: 1.50, as_of: 2026-01-01, source: bench}}
  own: {{per_hour: 2.69, as_of: 2026-01-01, source: bench}}
routes:
  - {{name: large, when: {{body: "> 1000000"}}, use: [model]}}
  - {{name: gold, when: {{priority: high}}, use: [model], order: fastest}}
  - {{name: default, use: [model], order: cheapest}}
limits: {limits}
plans:
  bench:
    requests: [1000000000/hour]
    concurrent: 100000
    gpu_seconds: [1000000000/day]
    spend: [1000000 USD/month]
    per_key: {limits}
    shared: {limits}
"""
LIMITS = (
    "{requests: [1000000000/hour], concurrent: 100000, gpu_seconds: [1000000000/day], "
    "spend: [1000000 USD/month]}"
)
PASSED = "{{kind: openai, base_url: '{upstream}/v1', price: tokens}}"
LOCAL = "{{kind: local, app: 'benchmarks/apps/trivial.py:app', workers: 1, price: own}}"


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What is on beside the plain gateway."""

    local: bool = False
    """A local worker answers instead of the upstream."""
    tls: bool = False
    processes: int = 1
    backends: int = 1
    """That the model has; all are the upstream."""
    routes: int = 3
    """The last one takes the calls."""
    keys: int = 1
    """Calls come with one after the other."""
    postgres: bool = False
    """The ledger is there."""
    redis: bool = False
    """The limits are there."""
    path: str = PATH
    headers: tuple[tuple[str, str], ...] = ()


_PLAIN = Setup()


class Spillgate:
    def __init__(self, *, name: str, setup: Setup = _PLAIN) -> None:
        self.name = name
        self._setup = setup

    @property
    def streams(self) -> bool:
        return self._setup == _PLAIN

    @property
    def large(self) -> bool:
        return self._setup == _PLAIN

    def start(self, upstream: Target, folder: Path) -> Running:
        running = self.launch(upstream, folder)
        assert running.child is not None
        try:
            wait_for_answer(running.child, running.target, what=self.name, deadline=READY)
        except BaseException:
            running.stop()
            raise
        return running

    def launch(self, upstream: Target, folder: Path) -> Running:
        """Starts the process and waits for nothing."""
        (folder / "data").mkdir(parents=True, exist_ok=True)
        setup, port = self._setup, free_port()
        with ExitStack() as started:
            ledger, shared, servers = _stores(setup, started)
            config = folder / "spillgate.yaml"
            config.write_text(policy(setup, upstream, folder, port, ledger, shared))
            keys = _make_keys(config, setup.keys)
            command = [str(PROGRAM), "serve", "--config", str(config)]
            if setup.processes > 1:
                command += ["--workers", str(setup.processes)]
            child = Child(command, log=folder / "gateway.log", env=COMPILED)
            ended = started.pop_all().close
        target = Target(
            url=f"{'https' if setup.tls else 'http'}://{HOST}:{port}",
            key=keys[0],
            keys=keys if setup.keys > 1 else (),
            path=setup.path,
            headers=setup.headers,
        )
        return Running(child=child, target=target, apart=WORKERS, beside=servers, ended=ended)


def policy(
    setup: Setup, upstream: Target, folder: Path, port: int, ledger: str = "", shared: str = ""
) -> str:
    """The policy of a setup, in YAML; ``ledger`` and ``shared`` are URLs of stores elsewhere."""
    backend = (LOCAL if setup.local else PASSED).format(upstream=upstream.url)
    text = CONFIG.format(
        host=HOST,
        port=port,
        tls="auto" if setup.tls else "off",
        folder=folder,
        backend=backend,
        model=MODEL,
        limits=LIMITS,
    )
    if ledger:
        text = text.replace(f"sqlite:///{folder}/data/ledger.db", ledger)
        text = text.replace("store: {", f'store: {{keys: "sqlite:///{folder}/data/keys.db", ')
    if shared:
        text = text.replace("memory://", shared)
    more = [f"model{number}" for number in range(2, setup.backends + 1)]
    text = text.replace(
        "models:\n", "".join(f"  {name}: {backend}\n" for name in more) + "models:\n"
    )
    text = text.replace("[model]", f"[{', '.join(['model', *more])}]")
    passed_by = "".join(
        f"  - {{name: r{number}, when: {{user: [u{number}, v{number}]}}, use: [model]}}\n"
        for number in range(setup.routes - 3)
    )
    return text.replace("  - {name: default", f"{passed_by}  - {{name: default")


def _stores(setup: Setup, started: ExitStack) -> tuple[str, str, tuple[int, ...]]:
    """URLs of ledger and limits, and the process ids of their servers. Raises Missing."""
    if not (setup.postgres or setup.redis):
        return "", "", ()
    try:  # the tests' servers, which are not there where only the gateway is installed
        from benchmarks.gateway.contenders.stores import start_postgres, start_redis
    except ImportError as error:
        raise Missing(f"what starts its store is not installed: {error}") from None
    if setup.postgres:
        url, pid = start_postgres(started)
        return url, "", (pid,)
    url, pid = start_redis(started)
    return "", url, (pid,)


def _make_keys(config: Path, count: int) -> tuple[str, ...]:
    """Keys on the plan, of several users where there are several."""
    first = make_key(config)
    if count == 1:
        return (first,)
    more = tuple(generate_key() for _ in range(count - 1))
    principals = [
        Principal(key_id=f"bench-{number}", user=f"bench{number % _USERS}", plan="bench")
        for number in range(count - 1)
    ]
    with contextlib.closing(sqlite3.connect(config.parent / "data" / "keys.db")) as file, file:
        # In one transaction, for each by itself would wait for the disk ten thousand times.
        file.executemany(
            "INSERT INTO keys VALUES (?, ?, 0, NULL, NULL)",
            [(one.id, msgspec.json.encode(one).decode()) for one in principals],
        )
        file.executemany(
            "INSERT INTO hashes VALUES (?, ?, 'sg-', 0, NULL)",
            [(digest_of(key), one.id) for key, one in zip(more, principals, strict=True)],
        )
    return (first, *more)


def make_key(config: Path) -> str:
    """A key on the plan. Raises StartFailed with what the command said."""
    command = [str(PROGRAM), "keys", "create", "--config", str(config)]
    done = subprocess.run(
        [*command, "--user", "bench", "--plan", "bench", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )
    try:
        return str(json.loads(done.stdout)["key"])
    except (ValueError, KeyError):
        said = (done.stderr or done.stdout).strip()[-600:]
        raise StartFailed(f"spillgate keys create gave no key:\n    | {said}") from None


def is_ready(target: Target) -> bool:
    return status(target, "/readyz") == 200
