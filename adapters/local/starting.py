"""The command line of the supervisor that starts a backend's workers."""

from __future__ import annotations

from adapters.local.bounds import LocalWorkers
from adapters.local.settings import LocalSettings
from local_runtime.app.model_sizes import to_json
from local_runtime.client.managed import supervisor_arguments


def arguments_of(name: str, settings: LocalSettings) -> list[str]:
    """Of the backend ``name``, whose settings name an app."""
    assert settings.app is not None
    placed = settings.workers
    own: dict[str, object]
    if isinstance(placed, int):
        own = {"workers": placed, "standby": settings.standby}
    elif isinstance(placed, LocalWorkers):
        own = {"workers": placed.max, "kept": True}
    else:
        own = placed.options
    return supervisor_arguments(
        settings.app,
        {
            **own,
            "name": name,
            "device": settings.device,
            "threads": settings.threads,
            "start-timeout": settings.start_timeout,
            "silence": settings.silence,
            "grace": settings.grace,
            "max-frame": settings.max_message,
            "memory": settings.memory,
            "models": to_json(settings.declared) if settings.models else None,
        },
    )
