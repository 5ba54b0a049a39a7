"""Settings of ``kind: local``: of workers that the gateway starts, or of those that run already."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec

from adapters.local.app_files import fault_of_python, lack_of_app
from adapters.local.bounds import LocalWorkers
from adapters.local.ray_settings import RayWorkers, refuse_what_ray_decides
from adapters.settings import (
    ByteSize,
    Count,
    Duration,
    PositiveDuration,
    PositiveSize,
    Scalar,
    SecretStr,
    SettingError,
    UrlPath,
)
from local_runtime.app.model_sizes import ModelSizes, misfit
from local_runtime.protocol.events import Standby
from local_runtime.protocol.wire import MAX_FRAME

_DEVICE = re.compile(r"(auto|cpu|mps|cuda(:\d{1,3})?)\Z")
_OTHERWISE = {
    "max_message": "give --max-message to python -m local_runtime, or say max_request here",
    "models": "say it in the app: @app.model(..., memory=...)",
    "python": "start them with it",
    "env": "set it where they are started",
    "secret_env": "set it where they are started",
}
"""How whoever starts the workers says what is no option of the same name there."""
_STARTERS = (
    *("workers", "device", "standby", "start_timeout", "silence", "grace", "threads", "memory"),
    *_OTHERWISE,
)


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_OURS = {
    "SPILLGATE_DEVICE": "say device",
    "SPILLGATE_WORKER": "it is the number of the worker",
    "SPILLGATE_SOFT_NOFILE": "set ulimit -n of the gateway",
}


def parse_devices(value: Any) -> str:
    """'cuda:0, cuda:1' -> the same. Raises ValueError."""
    text = str(value)
    for one in text.split(","):
        if _DEVICE.match(one.strip()) is None:
            raise ValueError(f"{one.strip()!r} is no device")
    return text


Device = Annotated[
    str,
    Scalar(
        parse=parse_devices,
        expects="auto, cpu, mps, cuda or cuda:0, or several of them by commas",
        pattern=r"^\s*(auto|cpu|mps|cuda(:\d{1,3})?)\s*(,\s*(auto|cpu|mps|cuda(:\d{1,3})?)\s*)*$",
    ),
]


class SharedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the models that an app loads when they are needed."""

    memory: Annotated[ByteSize, msgspec.Meta(gt=0)]
    """What it occupies while it is loaded."""
    pin: bool = False
    """It is loaded at the start, and stays."""


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of ``kind: local``."""

    app: str | None = None
    """folder/file.py:app, relative to the gateway's working directory, or package.module:app;
    left out where ``sockets`` is given."""
    sockets: str | None = None
    """A folder with the sockets of workers that run already, which ``python -m local_runtime APP
    --sockets`` started: they are used, and live on when the gateway ends."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] | LocalWorkers | RayWorkers = 1
    """Processes, each with the model loaded; between what their number moves; or how Ray is to
    place them on several machines."""
    device: Device = "auto"
    """auto, cpu, mps, cuda:0, or several by commas, which the workers take in turn; the app reads
    it from SPILLGATE_DEVICE."""
    standby: Standby = "none"
    """A spare process behind the workers that takes over when one dies: none, one that has
    imported the app, or one that has loaded the model too."""
    handler: UrlPath | None = None
    """The route that serves /v1/infer; left out: "/"."""
    start_timeout: PositiveDuration = 300.0
    """The longest that load, init and warm-up may take together."""
    wait_for_start: Duration | None = None
    """The longest that a call waits for a worker that is starting; 0: it is refused at once, so
    that another backend is tried. Left out: where no other backend should be sooner, and twice as
    long as the start should take and 5 s."""
    silence: PositiveDuration = 60.0
    """A worker that gives no sign of life so long is replaced."""
    grace: Duration = 5.0
    """How long a handler past its time-out may take to come back before its worker is
    replaced."""
    threads: Count | None = None
    """CPU threads of each worker's model (OMP_NUM_THREADS)."""
    max_message: PositiveSize = MAX_FRAME
    """The largest request or result."""
    memory: Annotated[ByteSize, msgspec.Meta(gt=0)] | None = None
    """What the app's models may occupy together in each worker; left out: what is free on its GPU
    after init, and on a CPU no bound."""
    models: dict[str, SharedModel] = {}
    """The app's name of a model -> what it occupies; counts before what the app says itself."""

    python: str | None = None
    """The interpreter of the workers' own environment, such as /opt/model/bin/python, in which
    spillgate-runtime is installed; left out: the gateway's own."""
    env: dict[str, str] = {}
    """Environment variables of the workers, beside what they get of the gateway's own."""
    secret_env: dict[str, SecretStr] = {}
    """The same for secrets, such as HF_TOKEN: ${HF_TOKEN}."""

    def __post_init__(self) -> None:
        """Raises SettingError for a model that could never be loaded, for what Ray decides, and
        unless it is clear whose the workers are."""
        if self.app is None and self.sockets is None:
            text = "is required; or sockets, the folder of workers that run already"
            raise SettingError(("app",), text)
        if self.app is not None and self.sockets is not None:
            text = "the workers that run already have an app: leave out app, or leave out sockets"
            raise SettingError(("sockets",), text)
        if isinstance(self.workers, RayWorkers):
            refuse_what_ray_decides(self.device, self.standby)
        if isinstance(self.workers, LocalWorkers) and self.standby != "none":
            text = "there are no spares of workers that come and go: give workers a larger min"
            raise SettingError(("standby",), text)
        self._check_environment()
        if self.memory is not None and (wrong := misfit(self.declared, self.memory)) is not None:
            raise SettingError(("models", wrong.model, wrong.field), wrong.message)

    def _check_environment(self) -> None:
        for key, names in (("env", self.env), ("secret_env", self.secret_env)):
            for name in names:
                fault = self._fault_of_variable(key, name)
                if fault:
                    raise SettingError((key, name), fault)

    def _fault_of_variable(self, key: str, name: str) -> str:
        if not _VARIABLE.match(name):
            return "is no name of an environment variable: letters, digits and _"
        if name in _OURS:
            return f"is the runtime's own: {_OURS[name]}"
        if isinstance(self.workers, RayWorkers):
            return "the workers are on Ray's machines: set it where Ray is started there"
        if key == "env" and "\0" in self.env[name]:
            return "holds a character that no environment can"
        return "stands in env too" if key == "secret_env" and name in self.env else ""

    @property
    def added_environment(self) -> dict[str, str]:
        """What the workers get beside the gateway's own."""
        secret = {name: value.reveal() for name, value in self.secret_env.items()}
        return {**self.env, **secret}

    def missing(self) -> list[SettingError]:
        """The app, where this machine's own workers are to run it; its code is not run. What stands
        where the workers' sockets should be; a folder that is not there yet, they make."""
        if self.sockets is not None and (fault := _fault_of_folder(self.sockets)) is not None:
            return [SettingError(("sockets",), fault)]
        if self.app is None or isinstance(self.workers, RayWorkers):
            return []
        if self.python is not None:
            fault = fault_of_python(self.python)
            if fault is not None:
                return [SettingError(("python",), fault)]
            if not self.app.partition(":")[0].endswith(".py"):
                return []  # a module of that environment, which this one need not have
        lack = lack_of_app(self.app)
        return [] if lack is None else [SettingError(("app",), lack)]

    @classmethod
    def misfits(cls, given: Collection[str]) -> list[SettingError]:
        """What is said in vain beside ``sockets``."""
        beside = [key for key in _STARTERS if key in given and "sockets" in given]
        return [SettingError((key,), _not_ours(key)) for key in beside]

    @property
    def declared(self) -> dict[str, ModelSizes]:
        """What the policy says that each model occupies, by the app's name of it."""
        return {
            name: ModelSizes(memory=model.memory, pin=model.pin)
            for name, model in self.models.items()
        }


def _fault_of_folder(folder: str) -> str | None:
    """What stands in its way."""
    try:
        found = next(
            one for one in (Path(folder), *Path(folder).absolute().parents) if one.exists()
        )
    except OSError as error:
        return f"{folder!r}: {error.strerror}"
    return None if found.is_dir() else f"{found} is a file, not a folder"


def _not_ours(key: str) -> str:
    option = f"give --{key.replace('_', '-')} to python -m local_runtime"
    how = _OTHERWISE.get(key, option)
    return f"is up to whoever starts the workers that sockets leads to: {how}"
