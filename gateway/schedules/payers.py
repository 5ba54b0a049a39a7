"""Who calls and pays for what a schedule begins."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.keys.permitted import may_use
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError, Principal

_INFER = "/v1/infer/"


def payer_of(schedule: ScheduleSpec, keys: Sequence[KeyRecord], now_at: float) -> Principal:
    """The key of which the policy says so, or the newest good one of its user's that may use the
    model. Raises ApiError 403 where there is none."""
    if schedule.key is not None:
        return _by_id(schedule, schedule.key, keys, now_at)
    own = [one for one in keys if one.principal.user == schedule.user]
    good = [one.principal for one in own if not _why_not(one, schedule, now_at)]
    if not good:
        raise _no_payer(
            f"{schedule.user} has no key{' that is good for this' if own else ''}", "user"
        )
    return good[-1]


def _by_id(schedule: ScheduleSpec, id: str, keys: Sequence[KeyRecord], now_at: float) -> Principal:
    found = next((one for one in keys if one.principal.key_id == id), None)
    if found is None:
        raise _no_payer(f"there is no key {id}", "key")
    if why := _why_not(found, schedule, now_at):
        raise _no_payer(f"the key {id} {why}", "key")
    return found.principal


def _why_not(record: KeyRecord, schedule: ScheduleSpec, now_at: float) -> str:
    if record.revoked_at is not None:
        return "was revoked"
    if record.expires_at is not None and record.expires_at <= now_at:
        return "has expired"
    model = model_of(schedule)
    if model and not may_use(record.principal.permitted, model):
        return f"may not use {model}"
    return ""


def model_of(schedule: ScheduleSpec) -> str:
    """The model that it calls; empty where the lines of a batch say that."""
    if schedule.job is not None:
        return schedule.job.model
    endpoint = "" if schedule.batch is None else schedule.batch.endpoint
    return endpoint.removeprefix(_INFER) if endpoint.startswith(_INFER) else ""


def _no_payer(why: str, param: str) -> ApiError:
    return ApiError(403, "no_payer", f"Nobody pays: {why}.", type="permission_error", param=param)
