"""Workers get what a model's code needs, and no secret of whoever starts them."""

from __future__ import annotations

import pytest

from local_runtime.client.worker_environment import worker_environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/usr/bin"),
        ("LC_ALL", "C.UTF-8"),
        ("LD_LIBRARY_PATH", "/opt/cuda"),
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("PYTHONPATH", "/srv"),
        ("OMP_NUM_THREADS", "4"),
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
        ("HF_HOME", "/models"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("SPILLGATE_TEXT_MODEL", "small"),
        ("SPILLGATE_STORE", "redis://store:6379"),
    ],
)
def test_what_a_models_code_needs_is_handed_on(name: str, value: str) -> None:
    assert worker_environment({name: value}, {}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNPOD_API_KEY", "r"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("DATABASE_URL", "postgres://db"),
        ("HF_TOKEN", "h"),
        ("HUGGINGFACE_HUB_TOKEN", "h"),
        ("HF_TOKEN_PATH", "/run/token"),
        ("VLLM_API_KEY", "v"),
        ("RAY_REDIS_PASSWORD", "p"),
        ("HTTPS_PROXY", "http://user:word@proxy:3128"),
        ("SPILLGATE_STORE", "redis://:word@store:6379"),
        ("MODAL_TOKEN_ID", "m"),
        ("anything", "else"),
    ],
)
def test_what_is_a_secret_or_nobody_named_is_not(name: str, value: str) -> None:
    assert worker_environment({name: value}, {}) == {}


def test_what_is_added_counts_before_what_is_handed_on() -> None:
    environ = {"HF_HOME": "/models", "HF_TOKEN": "of the gateway"}
    added = {"HF_HOME": "/other", "HF_TOKEN": "of the model"}
    assert worker_environment(environ, added) == added
