"""Which of its environment variables a server hands on to the workers that run other people's code.

A gateway's environment holds the secrets of every backend. Its workers get what a model's code
needs to run and to find its devices, its files and its proxy, and no name or value that looks like
a secret; whatever else a model needs is named by whoever runs the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAMES = frozenset(
    """
    PATH HOME USER LOGNAME SHELL PWD LANG LANGUAGE TZ TERM TMPDIR TMP TEMP VIRTUAL_ENV
    LD_LIBRARY_PATH LD_PRELOAD SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
    """.split()  # noqa: SIM905 - thirty lines of quotes otherwise
)
PREFIXES = tuple(
    """
    LC_ XDG_ PYTHON CONDA_ CUDA_ CUDNN_ CUBLAS_ NVIDIA_ NCCL_ HIP_ HSA_ ROCR_ ROCM_ GPU_ MIOPEN_
    TORCH PYTORCH_ TRITON_ OMP_ MKL_ KMP_ GOMP_ OPENBLAS_ NUMEXPR_ MALLOC_ TF_ XLA_ JAX_ HF_
    HUGGINGFACE_ TRANSFORMERS_ DIFFUSERS_ SENTENCE_TRANSFORMERS_ TOKENIZERS_ VLLM_ RAY_ SPILLGATE_
    """.split()  # noqa: SIM905 - thirty lines of quotes otherwise
)
_SECRET_NAME = re.compile(
    r"(?:\A|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASS|KEY|APIKEY|CREDENTIALS?|AUTH)S?(?:_|\Z)", re.I
)
_SECRET_VALUE = re.compile(r"://[^/\s]*@")
"""A URL with a user or a password in it."""


def worker_environment(environ: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """What is handed on of ``environ``, and ``added``, which counts before it."""
    handed_on = {name: value for name, value in environ.items() if _is_handed_on(name, value)}
    return {**handed_on, **added}


def _is_handed_on(name: str, value: str) -> bool:
    if name not in NAMES and not name.startswith(PREFIXES):
        return False
    return not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value)
