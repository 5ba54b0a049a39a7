"""A gateway as a user runs it: a process of its own, a policy, keys, and HTTP over loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from gateway.tls.files import material_in

ROOT = Path(__file__).parents[1]
SPILLGATE = Path(sys.executable).with_name("spillgate")


def free_port() -> int:
    """A port of 127.0.0.1 that a server may take.

    A connection of its own has just ended there, so for a minute the kernel gives it to nobody who
    asks for any port, such as a test that runs beside this one.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        accepted.close()  # first, so that this end is the one to linger
        port: int = listener.getsockname()[1]
        return port


class LiveGateway:
    """``spillgate serve`` over a policy, on a free port, with its data in ``folder``.

    ``config`` is the policy's YAML without ``version``, ``server`` and ``store``, which are
    written here; ``server`` and ``store`` add settings to those two. ``env`` is added to the
    environment. ``stderr``: a descriptor to log to, beside the log file. ``under``: a command that
    runs the gateway's, which follows it. ``workers``: processes that serve. Used as a context
    manager, or by ``start`` and ``stop``; a stopped gateway may be started again, on the same port
    and data.

        with LiveGateway(tmp_path, "backends: ...") as gateway:
            with gateway.client() as client:
                client.post("/v1/embeddings", json={...})
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        tls: bool = False,
        server: Mapping[str, object] | None = None,
        store: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        ready_within_s: float = 120.0,
        stderr: int = subprocess.STDOUT,
        under: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.stderr = stderr
        self.under = under
        self.data = folder / "data"
        self.port = free_port()
        self.tls = tls
        self.config = folder / "policy.yaml"
        self.log_file = folder / "gateway.log"
        self.ready_within_s = ready_within_s
        self.process: subprocess.Popen[bytes] | None = None
        self._env = {**os.environ, **(env or {})}
        self.write_config(config, server=server, store=store)

    def write_config(
        self,
        config: str,
        *,
        server: Mapping[str, object] | None = None,
        store: Mapping[str, object] | None = None,
    ) -> None:
        """Writes the policy file, whole or not at all; a running gateway may then reload it."""
        head = {
            "version": 1,
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "tls": "auto" if self.tls else "off",
                "data": str(self.data),
                **(server or {}),
            },
            "store": {"ledger": f"sqlite:///{self.data}/ledger.db", **(store or {})},
            # Where a test is of something else, its keys need no limits.
            **({} if "\nkeys:" in config else {"keys": {"unlimited": True}}),
        }
        aside = self.config.with_suffix(".new")
        aside.write_text(yaml.safe_dump(head, sort_keys=False) + config)
        aside.replace(self.config)

    # --- its life ------------------------------------------------------------------------------

    def start(self, *, wait_for: str = "/readyz") -> Self:
        """Starts it and waits until ``wait_for`` answers 200; an empty path waits for nothing."""
        assert self.process is None, "it runs already"
        command = [str(SPILLGATE), "serve", "--config", str(self.config)]
        if self.workers > 1:
            command += ["--workers", str(self.workers)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.under, *command],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=self.stderr,
                start_new_session=True,
            )
        if wait_for:
            self._wait_until_it_answers(wait_for)
        return self

    def stop(self, *, within_s: float = 45.0) -> int:
        """SIGTERM, and SIGKILL when that does not end it in time; returns the exit status."""
        assert self.process is not None, "it does not run"
        process, self.process = self.process, None
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_session(process)
        return process.returncode

    def kill(self) -> None:
        """SIGKILL to the gateway alone, as a crash would: nothing of it gets to clean up."""
        assert self.process is not None, "it does not run"
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def reload(self) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.stop()

    def _wait_until_it_answers(self, path: str) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while (seen := self.status_of(path)) != 200:
            assert self.process is not None
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                what = f"{path} answers {seen}" if ended is None else f"it ended with {ended}"
                raise AssertionError(f"the gateway is not ready: {what}\n{self.log[-4000:]}")
            time.sleep(0.02)

    # --- what a test wants to know of it -------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """The certificate that a client must trust; there once it has started with TLS."""
        return material_in(self.data / "tls").ca

    @property
    def pid(self) -> int:
        assert self.process is not None, "it does not run"
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @cached_property
    def admin_key(self) -> str:
        return self.create_key("root", "--admin")

    @cached_property
    def user_key(self) -> str:
        """A key of the user alice."""
        return self.create_key("alice")

    def create_key(self, user: str, *options: str) -> str:
        """Such as ``create_key("bob", "--plan", "free", "--tag", "team=search")``."""
        made = self.spillgate(
            "keys", "create", "--config", str(self.config), "--user", user, *options, "--json"
        )
        key: str = json.loads(made)["key"]
        return key

    def spillgate(self, *arguments: str) -> str:
        """Runs a command of the CLI beside it and returns what it prints."""
        done = subprocess.run(
            [str(SPILLGATE), *arguments],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"spillgate {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """With a key, the user's one if none is given; an empty one sends none."""
        return httpx.Client(**self._client_options(key), **options)

    def async_client(self, key: str | None = None, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._client_options(key), **options)

    def _client_options(self, key: str | None) -> dict[str, Any]:
        key = self.user_key if key is None else key
        return {
            "base_url": self.url,
            "headers": {"authorization": f"Bearer {key}"} if key else {},
            "verify": ssl.create_default_context(cafile=str(self.ca)) if self.tls else False,
            "timeout": 30.0,
            "trust_env": False,
        }

    def status_of(self, path: str) -> int | None:
        """The status that a GET without a key gets; None while nobody answers."""
        connection = self._connection()
        if connection is None:
            return None
        with contextlib.closing(connection):
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None

    def _connection(self) -> http.client.HTTPConnection | None:
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            trust = ssl.create_default_context(cafile=str(self.ca))
        except FileNotFoundError:
            return None
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=trust)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
