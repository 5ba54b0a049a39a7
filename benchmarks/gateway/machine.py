"""The machine and the versions, so that a table says what it is about."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.gateway.environments import LITELLM, PORTKEY, SGLANG, SMG, VLLM_ROUTER

_PACKAGES = ("spillgate", "starlette", "uvloop", "httptools")
_NUMBER = re.compile(r"\d+(?:\.\d+)+")


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def describe() -> str:
    python = platform.python_version()
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{os.cpu_count()} cores ({_processor()}), {system}, Python {python}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Of Spillgate and what carries it, and of the contenders."""
    found = {name: _installed(name) for name in _PACKAGES}
    found["nginx"] = _said("nginx", "-v")
    found["wrk"] = _said("wrk", "-v")
    for one in (SGLANG, SMG, VLLM_ROUTER, LITELLM):
        found[one.package] = one.version
    found["portkey"] = PORTKEY.version
    return {name: number for name, number in found.items() if number}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    """The first version number in what the program prints."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=10)
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else ""
