"""In the place of ``model_admission`` for an app without models: none is needed, none comes."""

from __future__ import annotations

from local_runtime.app.model_sizes import unknown_model
from local_runtime.protocol.events import CacheStatus, Done
from local_runtime.worker.dispatcher import WorkerModels
from local_runtime.worker.jobs import Job


class NoModels(WorkerModels):
    """What ``ModelAdmission`` is, to an app without models."""

    waiting = 0
    has_work = False
    due_at = None

    def admit(self, job: Job, now: float) -> Done | None:
        """Refuses a call whose handler takes models: there are none."""
        text = unknown_model(job.handler.route, job.run.model)
        return Done(job.run.id, False, kind="unsupported", message=text)

    def admitted(self, now: float) -> list[Job]:
        return []

    def begin_load(self, now: float) -> None: ...

    def withdraw(self, job: Job) -> bool:
        return False

    def release(self, job: Job) -> None: ...

    def loaded(self, name: str, seconds: float) -> None: ...

    def failed(self, name: str, message: str, now: float) -> list[tuple[Job, Done]]:
        return []

    def overdue(self, now: float) -> str | None:
        return None

    def status(self) -> CacheStatus | None:
        return None


NO_MODELS = NoModels()
