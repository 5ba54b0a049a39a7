"""What the environment of a worker process holds, and what the policy may say of it."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from adapters.local.ray_settings import RayWorkers
from adapters.local.settings import LocalSettings
from adapters.settings import Secret, SettingError
from tests.adapters.local.backends import answer, running


async def test_a_worker_has_what_the_policy_gives_it_and_no_secret_of_the_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told by the process itself."""
    monkeypatch.setenv("RUNPOD_API_KEY", "of the gateway")
    monkeypatch.setenv("HF_TOKEN", "of the gateway")
    given: dict[str, Any] = {"env": {"MODE": "fast"}, "secret_env": {"HF_TOKEN": Secret("hf")}}
    names = ["RUNPOD_API_KEY", "HF_TOKEN", "MODE", "PATH"]
    async with running("placed.py", **given) as backend:
        found = (await answer(backend, {"names": names}))["env"]
    assert found == {
        "RUNPOD_API_KEY": None,
        "HF_TOKEN": "hf",
        "MODE": "fast",
        "PATH": os.environ["PATH"],
    }


@pytest.mark.parametrize(
    ("settings", "keys", "words"),
    [
        ({"env": {"A-B": "1"}}, ("env", "A-B"), "no name"),
        ({"env": {"SPILLGATE_DEVICE": "cpu"}}, ("env", "SPILLGATE_DEVICE"), "say device"),
        ({"env": {"A": "a\0b"}}, ("env", "A"), "character"),
        ({"env": {"A": "1"}, "secret_env": {"A": Secret("2")}}, ("secret_env", "A"), "in env too"),
        ({"env": {"A": "1"}, "workers": RayWorkers(engine="ray")}, ("env", "A"), "Ray"),
    ],
)
def test_a_variable_that_cannot_be_given_is_an_error_at_its_name(
    settings: dict[str, Any], keys: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SettingError, match=words) as refused:
        msgspec.structs.replace(LocalSettings(app="app.py:app"), **settings)
    assert refused.value.keys == keys


def test_beside_sockets_a_variable_is_up_to_whoever_starts_the_workers() -> None:
    [error] = LocalSettings.misfits(["sockets", "env"])
    assert "where they are started" in str(error)
