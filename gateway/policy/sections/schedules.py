"""The section ``schedules``: jobs and batches that begin by the clock."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

import msgspec

from adapters.settings import Duration, PositiveDuration, Scalar, SettingError
from gateway.policy.syntax.scalars import ModelName, Name, NanoUsd
from gateway.types import Priority
from gateway.windows import check_zone

_WEEK_S, _MONTH_S = 7 * 86_400.0, 30 * 86_400.0


def parse_cron(value: Any) -> str:
    """'30 2 * * mon-fri' -> the same with one blank between its fields. Raises ValueError."""
    # Imported here because only a policy with schedules needs it.
    from cronsim import CronSim, CronSimError

    text = " ".join(str(value).split())
    try:
        next(CronSim(text, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression: {error}") from None
    except StopIteration:
        raise ValueError(f"{text!r} names a day that never comes") from None
    return text


def parse_zone(value: Any) -> str:
    """'Europe/Berlin' -> the same. Raises ValueError for a zone that this machine does not know."""
    check_zone(str(value))
    return str(value)


Cron = Annotated[
    str,
    Scalar(
        parse=parse_cron,
        expects='minute, hour, day, month and weekday, such as "30 2 * * mon-fri"',
        pattern=r"^\s*\S+(\s+\S+){4}\s*$",
    ),
]
Zone = Annotated[
    str,
    Scalar(
        parse=parse_zone,
        expects="a time zone such as Europe/Berlin",
        pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$",
    ),
]


class ScheduledJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The job that is begun: what ``POST /v1/jobs`` takes."""

    model: ModelName
    """A name in ``models``."""
    input: dict[str, Any]
    """The body that the route of the model's task takes, without ``model``."""
    deadline: Annotated[Duration, msgspec.Meta(gt=0, le=_MONTH_S)] | None = None
    """How long after it was begun it must have ended; left out: ``jobs.deadline``."""
    ttl: Annotated[Duration, msgspec.Meta(gt=0, le=_MONTH_S)] | None = None
    """How long its result is kept; left out: ``jobs.keep``."""
    priority: Priority | None = None
    """Left out: that of the plan; never more."""


class ScheduledBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The batch that is begun: what ``POST /v1/batches`` takes."""

    endpoint: str
    """The route that every line is for, such as /v1/embeddings."""
    input: str
    """The id of a stored file of the one who pays, or the path of a file that every gateway
    reads when the batch begins."""
    within: Annotated[Duration, msgspec.Meta(gt=0, le=_WEEK_S)] = 86_400.0
    """By when it must have ended, after it has begun."""
    budget: NanoUsd | None = None
    """US dollars that it may cost; left out: no bound of its own."""


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Begins a job or a batch at each instant of a cron expression, once over all gateways."""

    cron: Cron
    """Minute, hour, day of the month, month and day of the week."""
    zone: Zone = "UTC"
    """The time zone of ``cron``."""
    key: Name | None = None
    """The id of the key that calls and pays."""
    user: Name | None = None
    """In place of ``key``: the newest good key of this user that may use the model."""
    job: ScheduledJob | None = None
    """What is begun."""
    batch: ScheduledBatch | None = None
    """In place of ``job``: a batch."""
    missed: Literal["skip", "once", "all"] = "once"
    """Of instants that went by while no gateway could begin them: skip begins none of them, once
    the last one, all each of the last 100."""
    overlap: Literal["skip", "wait", "allow"] = "skip"
    """While the one before has not ended: skip passes an instant over, wait begins it afterwards,
    allow begins it all the same."""
    grace: PositiveDuration = 60.0
    """How late an instant may be begun before it counts as missed."""

    def __post_init__(self) -> None:
        if (self.key is None) is (self.user is None):
            raise SettingError(("key",), "either a key or a user pays: give one of them")
        if (self.job is None) is (self.batch is None):
            raise SettingError(("job",), "give either a job or a batch to begin")
