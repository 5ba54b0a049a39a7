"""Modal's edge before a web endpoint: it holds an exchange for a while, and then sends the client
to where the call's answer will be.

Source: https://modal.com/docs/guide/webhook-timeouts
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from tests.e2e.servers.faulty import well
from tests.e2e.servers.job_plane import JobPlane, Refusals
from tests.programs.faults.speech import Asked, answer, error

HELD_S = 0.6
"""For 150 at Modal: here a call of a second is sent on once."""
_CALL = "__modal_function_call_id"


class ModalPlane(JobPlane):
    """A web endpoint. A call that nobody waits for runs on to its function's own time limit."""

    refuses: ClassVar[Refusals] = {
        "paused": (404, b"modal-http: app for invoked web endpoint is stopped"),
        "no_endpoint": (404, b"modal-http: invalid function call"),
        "no_credit_in_words": (429, b"modal-http: workspace billing cycle spend limit reached"),
    }

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path, _, id = asked.path.partition(f"?{_CALL}=")
        if not id:
            taken = await self.submit(writer)
            if taken is None:
                return
            id = taken
        elif self.trouble in ("polls_fail", "polls_cut", "forgotten"):
            self.poll(id, writer)
            return
        state = await self.ended(id, HELD_S)
        if state in ("waits", "runs"):
            writer.write(answer(303, b"", f"location: {path}?{_CALL}={id}"))
        elif state == "done":
            await well(self._asked(id, asked), writer)
        else:
            writer.write(answer(504 if state == "timed_out" else 500, self.said(id)))

    def said(self, id: str) -> dict[str, Any]:
        return error("boom")

    def can_cancel(self, state: str) -> bool:
        return False

    def _asked(self, id: str, asked: Asked) -> Asked:
        """The answer's shape is that of the POST, whose body a GET does not have."""
        wants_stream = "text/event-stream" in asked.head
        return Asked("post", asked.path, b'"stream":true' if wants_stream else b"")
