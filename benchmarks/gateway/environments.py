"""The environments of the contenders, Python's and Node's: one each under .bench/, made on demand
and kept."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.gateway.processes import ROOT, Missing

BENCH = ROOT / ".bench"
INSTALL_LIMIT = 1200.0
"""Seconds that one installation may take."""

_REQUIREMENTS = """
import sys
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
name, extra, *unbound = sys.argv[1:]
for requirement in map(Requirement, requires(name) or ()):
    if requirement.marker is None or any(
        requirement.marker.evaluate({"extra": wanted}) for wanted in ("", extra)
    ):
        bound = "" if requirement.name in unbound else str(requirement.specifier)
        extras = "[" + ",".join(sorted(requirement.extras)) + "]" if requirement.extras else ""
        print(requirement.name + extras + bound)
"""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual environment that holds one package."""

    folder: str
    package: str
    version: str
    extra: str = ""
    torch: bool = False
    """It sees the torch of the interpreter that runs the benchmark: one build for all, and no
    gigabyte each. What the environment has of its own goes first."""
    unbound: tuple[str, ...] = ()
    """Requirements whose version may be any, where the package's own bounds cannot be met: a
    registry that is a few days behind lacks them. None of them is on the path of a call."""

    @property
    def python(self) -> Path:
        return BENCH / self.folder / "bin" / "python"

    @property
    def marker(self) -> Path:
        return BENCH / self.folder / f".{self.package}-{self.version}"

    def ensure(self) -> None:
        """Makes the environment if it is not there. Raises Missing with pip's last lines."""
        if self.marker.exists():
            return
        BENCH.mkdir(exist_ok=True)
        print(f"installing {self.package} {self.version} into .bench/{self.folder} ...", flush=True)
        self._run([sys.executable, "-m", "venv", str(BENCH / self.folder)])
        try:
            self._pip(f"{self.package}{self._extras}=={self.version}")
        except Missing:
            if not self.unbound:
                raise
            self._install_unbound()
        if self.torch:
            self._share_torch()
        self.marker.touch()

    def _share_torch(self) -> None:
        (place,) = (BENCH / self.folder / "lib").glob("python*/site-packages")
        (place / "shared-torch.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    @property
    def _extras(self) -> str:
        return f"[{self.extra}]" if self.extra else ""

    def _install_unbound(self) -> None:
        self._pip("--no-deps", f"{self.package}=={self.version}")
        script = [str(self.python), "-c", _REQUIREMENTS, self.package, self.extra, *self.unbound]
        self._pip(*self._run(script).split())

    def _pip(self, *arguments: str) -> str:
        return self._run([str(self.python), "-m", "pip", "install", "--quiet", *arguments])

    def _run(self, command: Sequence[str]) -> str:
        return installed(self.package, command)


class NodePackage(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that holds one package of npm's; no script of it is run to install it."""

    folder: str
    package: str
    version: str

    @property
    def place(self) -> Path:
        return BENCH / self.folder / "node_modules" / self.package

    def ensure(self) -> None:
        """Installs it if it is not there. Raises Missing with npm's last lines."""
        marker = BENCH / self.folder / f".installed-{self.version}"
        if marker.exists():
            return
        marker.parent.mkdir(parents=True, exist_ok=True)
        print(f"installing {self.package} {self.version} into .bench/{self.folder} ...", flush=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(marker.parent)]
        installed(self.package, ["npm", "install", *options, f"{self.package}@{self.version}"])
        marker.touch()


def installed(package: str, command: Sequence[str]) -> str:
    """What the command printed. Raises Missing where it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{package} could not be installed: {error}") from None
    if done.returncode != 0:
        tail = "\n    | ".join(done.stderr.splitlines()[-5:])
        raise Missing(f"{package} could not be installed\n    | {tail}")
    return done.stdout


SGLANG = Environment(folder="sglang", package="sglang-router", version="0.3.2")
SMG = Environment(folder="smg", package="smg", version="1.13.0")
VLLM_ROUTER = Environment(folder="vllm-router", package="vllm-router", version="0.1.17")
PORTKEY = NodePackage(folder="portkey", package="@portkey-ai/gateway", version="1.15.2")
LITELLM = Environment(
    folder="litellm",
    package="litellm",
    version="1.109.1",
    extra="proxy",
    unbound=("certifi", "litellm-proxy-extras", "litellm-enterprise"),
)
LITSERVE = Environment(folder="litserve", package="litserve", version="0.2.19", torch=True)
BENTOML = Environment(folder="bentoml", package="bentoml", version="1.4.39", torch=True)
RAY = Environment(
    folder="ray-fast", package="ray", version="2.60.0", extra="serve,haproxy", torch=True
)
MOSEC = Environment(folder="mosec", package="mosec", version="0.9.8", torch=True)
PROFILER = Environment(folder="py-spy", package="py-spy", version="0.4.1")
