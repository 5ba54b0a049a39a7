"""Jobs, what begins them by the clock, and who is told of what by webhook."""

from __future__ import annotations

from typing import Any

from gateway.api.admin import webhooks as admin
from gateway.console.visits import sheets
from gateway.console.visits.acts import done
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link
from gateway.events import requests
from gateway.jobs.views import listed
from gateway.schedules import views as schedules
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import ENDED, STATES
from gateway.types import NANO, ApiError

_PAGE = 50
_DONE = {
    "tested": "A test message stands before the endpoint; its delivery stands below in a moment.",
    "enabled": "The endpoint is asked again.",
    "canceled": "The job is being stopped, and the platform's meter with it.",
}


async def show(visit: Visit) -> HtmlPage:
    """A user's own jobs, all for an admin; schedules and webhooks for admins alone."""
    found = await _found(visit, _PAGE + 1)
    page = found[:_PAGE]
    outbox = None if visit.gateway.notices is None else visit.gateway.notices.outbox
    hooks: list[dict[str, Any]] = []
    if visit.is_admin and outbox is not None:
        hooks = await requests.listed(outbox, visit.gateway.active.policy)
    return HtmlPage(
        "jobs.html",
        {
            "jobs": page,
            "told": {job.id: listed(job) for job in page},
            "next": page[-1].id if len(found) > len(page) else "",
            "states": STATES,
            "ended": ENDED,
            "wanted": visit.params.get("state", ""),
            "has_jobs": visit.gateway.jobs is not None,
            "schedules": await _schedules(visit),
            "webhooks": hooks,
            "done": _DONE.get(visit.params.get("done", "")),
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """The newest of them."""
    head = ("id", "state", "user", "model", "created_at", "started_at", "ended_at", "cost_usd")
    rows = []
    for job in await _found(visit, 1_000):
        told = listed(job)
        spent = job.cost_nano / NANO if job.state in ENDED else None
        times = (told["created_at"], told["started_at"], told["ended_at"])
        rows.append((job.id, job.state, job.user, job.model, *times, spent))
    return sheets.sheet_of("jobs", head, rows)


async def _schedules(visit: Visit) -> list[dict[str, Any]]:
    gateway = visit.gateway
    if gateway.schedules is None or not visit.is_admin:
        return []
    given = gateway.active.policy.schedules
    return await schedules.listed(given, gateway.schedules.store, gateway.clock.time())


async def _found(visit: Visit, most: int) -> list[StoredJob]:
    if visit.gateway.jobs is None:
        return []
    wanted = visit.params.get("state", "")
    states = tuple(state for state in STATES if state == wanted)
    user = visit.params.get("user") if visit.is_admin else visit.who.user
    query = JobsQuery(
        user=user or None,
        states=states,
        model=visit.params.get("model"),
        before=visit.params.get("after"),
        most=most,
    )
    return await visit.gateway.jobs.store.find(query)


# --- acts ----------------------------------------------------------------------------------------


async def cancel(visit: Visit) -> Given:
    """Stops a job of the reader's own. Raises ApiError 404 for another's."""
    jobs, id = visit.gateway.jobs, visit.form.get("job", "")
    job = None if jobs is None or not id else await jobs.store.get(id)
    if jobs is None or job is None or not (visit.is_admin or job.user == visit.who.user):
        raise ApiError(404, "job_not_found", "There is no such job of yours.", param="id")
    await jobs.worker.cancel(job.id)
    return Onward(link("jobs", {}) + "?done=canceled")


async def test(visit: Visit) -> Given:
    """Puts a test message before an endpoint."""
    route = ("POST", "/admin/webhooks/{webhook:path}/test")
    await done(visit, route, admin.test_webhook, {"webhook": visit.form.get("webhook", "")})
    return Onward(link("jobs", {}) + "?done=tested")


async def enable(visit: Visit) -> Given:
    """Asks an endpoint again that was disabled."""
    route = ("POST", "/admin/webhooks/{webhook:path}/enable")
    await done(visit, route, admin.enable_webhook, {"webhook": visit.form.get("webhook", "")})
    return Onward(link("jobs", {}) + "?done=enabled")
