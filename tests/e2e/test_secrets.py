"""Secrets come from the environment, and whatever fails, they stay there.

Backends of every kind are given secrets that can be told apart, and a server that fails in every
way and repeats what it was sent. What the gateway and its commands wrote is searched for them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from adapters import KINDS, load_kind
from gateway.policy.syntax.shapes import EitherShape, ParsedShape, Shape, fields_of
from tests.adapters.served import served
from tests.e2e.servers.parrot import MODES, app
from tests.live import ROOT, SPILLGATE, LiveGateway
from tests.redis_server import RedisServer, require_redis
from tests.waiting import wait_until

REFUSED = "http://127.0.0.1:1"
WITHOUT_SECRETS = {"local"}
NEEDED: Mapping[str, Mapping[str, object]] = {
    "replicate": {"deployment": "o/n", "openai": True},
    "http": {"path": "/run", "secret_headers": {"X-Key": "${SECRET_HTTP_HEADER}"}},
    "modal": {"url": "{url}"},
}
"""What a kind wants beyond the settings that its types call required."""


def is_secret(shape: Shape) -> bool:
    if isinstance(shape, EitherShape):
        return any(is_secret(option) for option in shape.options)
    return isinstance(shape, ParsedShape) and shape.scalar.secret


def variable(kind: str, name: str) -> str:
    return f"${{SECRET_{kind.upper()}_{name.upper()}}}"


def filled(kind: str, url: str) -> dict[str, object]:
    """Settings of a kind that lead to ``url``, each secret from a variable of its own."""
    settings: dict[str, object] = {}
    for name, field in fields_of(load_kind(kind).Settings).items():
        if is_secret(field.shape):
            settings[name] = variable(kind, name)
        elif name.endswith("url"):
            settings[name] = url
        elif name in ("timeout", "wait"):
            settings[name] = "2s"
        elif field.required:
            settings[name] = "x"
    extra = {key: url if value == "{url}" else value for key, value in NEEDED.get(kind, {}).items()}
    return {**settings, **extra}


# --- a policy whose every call fails ------------------------------------------------------------

SHAPES = {"whole": ("chat", False), "stream": ("chat", True), "json": ("infer", False)}


def policy_over(url: str) -> dict[str, Any]:
    """For each kind, each way to fail and each shape of a call, a backend and its model: one
    that failed is not asked again soon, so none has two calls to fail."""
    places = {mode: f"{url}/{mode}" for mode in MODES} | {"refused": REFUSED}
    backends: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for kind in sorted(set(KINDS) - WITHOUT_SECRETS):
        for mode, place in places.items():
            for shape, (task, _) in SHAPES.items():
                name = f"{kind}-{mode}-{shape}"
                backends[name] = {"kind": kind, "max_run": "3s", **filled(kind, place)}
                models[name] = {"task": task, "backends": [name]}
    return {"backends": backends, "models": models}


def secrets_of(policy: Mapping[str, Any]) -> dict[str, str]:
    """A value for each variable that the policy names, told apart by its name."""
    names = sorted(set(re.findall(r"\$\{(SECRET_\w+)\}", yaml.safe_dump(dict(policy)))))
    values = {name: f"s3cr3t-{name.lower()}/+{number:03d}" for number, name in enumerate(names)}
    return {
        name: f"https://hooks.invalid/{value}" if name.endswith("WEBHOOK") else value
        for name, value in values.items()
    }


def spellings(secret: str) -> set[bytes]:
    """As it is, in a URL, in a JSON string, and as Basic credentials would carry it."""
    plain = {secret, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]}
    return {one.encode() for one in plain} | {base64.b64encode(secret.encode()).rstrip(b"=")}


class Written:
    """All that a run wrote, by where it did."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def add(self, where: str, text: bytes | str) -> None:
        self._texts[where] = text if isinstance(text, bytes) else text.encode()

    def add_answer(self, where: str, answer: httpx.Response) -> None:
        self.add(where, repr(answer.headers.multi_items()).encode() + answer.content)

    def add_folder(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                self.add(str(file), file.read_bytes())

    def __len__(self) -> int:
        return len(self._texts)

    def showing(self, secrets: Mapping[str, str]) -> list[str]:
        """Which secret is where."""
        return sorted(
            f"{name} in {where}"
            for where, text in self._texts.items()
            for name, secret in secrets.items()
            if any(spelling in text for spelling in spellings(secret))
        )


@pytest.fixture(scope="module")
def parrot() -> Iterator[str]:
    with served(app()) as url:
        yield url


def ask(client: httpx.Client, model: str) -> httpx.Response:
    task, stream = SHAPES[model.rpartition("-")[2]]
    if task == "infer":
        return client.post(f"/v1/infer/{model}", json={"x": 1})
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    came = bytearray()
    cut = contextlib.suppress(httpx.RemoteProtocolError)
    with client.stream("POST", "/v1/chat/completions", json=body) as answer, cut:
        for piece in answer.iter_raw():
            came += piece
    return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(came))


PAGES = ("/metrics", "/readyz", "/v1/models", "/usage", "/openapi.json", "/admin/backends")
PAGES_OF_ADMIN = ("/admin/policy", "/admin/keys")


def test_whatever_fails_no_secret_is_told(tmp_path: Path, parrot: str) -> None:
    policy = policy_over(parrot)
    secrets = secrets_of(policy)
    written = Written()
    gateway = LiveGateway(tmp_path, yaml.safe_dump(policy), env=secrets, ready_within_s=60)
    with gateway, gateway.client() as client, gateway.client(gateway.admin_key) as admin:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda model: ask(client, model), policy["models"]))
        for model, answer in zip(policy["models"], answers, strict=True):
            written.add_answer(f"the answer of {model}", answer)
        for page in (*PAGES, *PAGES_OF_ADMIN):
            written.add_answer(page, admin.get(page))
        misplaced(gateway, admin, policy, written)
    written.add("the gateway's output", gateway.log_file.read_bytes())
    written.add_folder(gateway.data)
    commands(gateway, policy, secrets, written)
    failed = [
        answer for answer in answers if answer.status_code >= 400 or b"error" in answer.content
    ]
    assert len(failed) > 0.8 * len(answers)
    shown = "\n".join(written.showing(secrets))
    assert shown == "", shown


def misplaced(
    gateway: LiveGateway, admin: httpx.Client, policy: Mapping[str, Any], written: Written
) -> None:
    """Policies that hold a secret where none may stand, by a reload and by the admin's route."""
    name = next(iter(policy["backends"]))
    variable = next(iter(secrets_of(policy)))
    broken = {
        **policy,
        "backends": {
            **policy["backends"],
            name: {"kind": "openai", "base_url": f"${{{variable}}}"},
        },
    }
    text = yaml.safe_dump({"version": 1, **broken})
    for route in ("/admin/policy/validate", "/admin/policy"):
        answer = admin.request("POST" if route.endswith("validate") else "PUT", route, content=text)
        assert answer.status_code >= 400
        written.add_answer(route, answer)
    gateway.write_config(yaml.safe_dump(broken))
    gateway.reload()
    wait_until(lambda: "the policy was not changed" in gateway.log, "the reload is refused")


def commands(
    gateway: LiveGateway,
    policy: Mapping[str, Any],
    secrets: Mapping[str, str],
    written: Written,
) -> None:
    """The commands that read the secrets, over a broken policy and over the whole one."""
    written.add("check, broken", run(secrets, "check", str(gateway.config)))
    gateway.write_config(yaml.safe_dump(dict(policy)))
    written.add("check", run(secrets, "check", str(gateway.config), "--json"))
    for kind in sorted(set(KINDS) - WITHOUT_SECRETS):
        words = ["probe", f"{kind}-401-whole", "--call", "--config", str(gateway.config)]
        written.add(f"probe {kind}", run(secrets, *words))


def run(secrets: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(
        [str(SPILLGATE), *words],
        cwd=ROOT,
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


LIMITED = f"""\
backends: {{gone: {{kind: openai, base_url: "{REFUSED}"}}}}
models: {{m-whole: {{task: chat, backends: [gone]}}}}
limits: {{requests: 1000/minute}}
"""


@pytest.mark.parametrize("right", [True, False], ids=["the right one", "a wrong one"])
def test_the_password_of_the_shared_store_is_told_to_nobody(tmp_path: Path, right: bool) -> None:
    """It opens the store, whatever signs are in it, and shows nowhere, whether it fits or not."""
    require_redis()
    secrets = {"SECRET_REDIS": "s3cr3t-redis@/:%+1"}
    written = Written()
    with RedisServer("--requirepass", secrets["SECRET_REDIS"] if right else "another") as redis:
        url = f"redis://:${{SECRET_REDIS}}@127.0.0.1:{redis.port}/1"
        gateway = LiveGateway(tmp_path, LIMITED, store={"shared": url}, env=secrets)
        try:
            gateway.start(wait_for="/readyz" if right else "/healthz")
            with gateway.client() as client, gateway.client(gateway.admin_key) as admin:
                answer = ask(client, "m-whole")
                written.add_answer("the answer", answer)
                for page in (*PAGES, *PAGES_OF_ADMIN):
                    written.add_answer(page, admin.get(page))
                failing = "spillgate_shared_store_failing " + ("0" if right else "1")
                assert failing in admin.get("/metrics").text
            written.add("check", run(secrets, "check", str(gateway.config), "--json"))
        finally:
            if gateway.process is not None:
                gateway.stop()
        assert ("store_unavailable" in answer.text) is not right, answer.text
        written.add("the gateway's output", gateway.log_file.read_bytes())
        written.add_folder(gateway.data)
    assert written.showing(secrets) == []


@pytest.mark.parametrize(
    "url", ["redis://:s3cr3t-redis@h", "redis://:a/s3cr3t-redis@h:99999/x", "x://u:s3cr3t-redis@h"]
)
def test_a_password_that_is_written_out_is_refused_where_it_stands(
    tmp_path: Path, url: str
) -> None:
    gateway = LiveGateway(tmp_path, LIMITED, store={"shared": url})
    for command in (["check"], ["serve", "--config"]):
        said = run({}, *command, str(gateway.config))
        assert f"{gateway.config}:8:11: store.shared: a password is not written here" in said
        assert "Traceback" not in said
        assert "s3cr3t" not in said


def test_the_search_finds_a_secret_however_it_is_spelt() -> None:
    """So that an empty finding means something."""
    secrets = {"KEY": "s3cr3t/+1"}
    for spelt in (b"s3cr3t/+1", b"s3cr3t%2F%2B1", base64.b64encode(b"s3cr3t/+1")):
        written = Written()
        written.add("a log", b"before " + spelt + b" after")
        assert written.showing(secrets) == ["KEY in a log"]
