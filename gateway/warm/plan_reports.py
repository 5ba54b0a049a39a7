"""How a plan of workers is told to a person, in numbers by which it can be done again."""

from __future__ import annotations

from typing import Any

from gateway.money.text import iso
from gateway.planning.coming import ComingLook, JobsLook
from gateway.warm.planned import BackendPlan, PlanLook


def plan_as_json(plan: BackendPlan) -> dict[str, Any]:
    """The last look at a backend. ``reserve`` is advice: as many more workers as there would be are
    worth their price by the hour."""
    return {
        "looked_at": iso(plan.at, "milliseconds"),
        "workers": plan.minimum.workers,
        "because": plan.minimum.because,
        "models": [_look(one) for one in plan.pools],
    }


def _look(look: PlanLook) -> dict[str, Any]:
    seen, capacity = look.seen, look.capacity
    return {
        "models": look.models,
        "calls": seen.load,
        "waiting": seen.waiting,
        "overdue": seen.overdue,
        "ready": seen.ready,
        "ready_elsewhere": look.at_home,
        "hold": capacity.hold,
        "start": capacity.starting,
        "reserve": capacity.reserved,
        "missing_worker_costs_seconds": round(capacity.worth.seconds, 3),
        "starts_raced": capacity.worth.starts,
        "workers": look.minimum.workers,
        "because": look.minimum.because,
        "coming": seen.coming,
        "scheduled": [_coming(one) for one in look.coming],
        "jobs_at_work": seen.jobs,
        "backlog": seen.backlog,
        "jobs": [_jobs(one) for one in look.jobs],
    }


def _jobs(look: JobsLook) -> dict[str, Any]:
    return {
        "model": look.model,
        "jobs": look.jobs,
        "first_deadline": iso(look.deadline, "seconds"),
        "run_seconds": round(look.run_s, 3),
        "at_once": look.at_once,
    }


def _coming(look: ComingLook) -> dict[str, Any]:
    what = look.what
    return {
        "schedule": what.schedule,
        "at": iso(what.at, "seconds"),
        "model": what.model,
        "calls": what.calls,
        "within_seconds": what.within_s,
        "run_seconds": round(look.run_s, 3),
        "at_once": look.at_once,
    }
