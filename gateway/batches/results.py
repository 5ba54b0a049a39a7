"""The results of a batch: a line for each line of its input, those that succeeded in one file, the
others in another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from gateway.batches.records import not_run_text
from gateway.files.files import Files, NewFile
from gateway.jobs.large import LargeBodies
from gateway.jobs.outcomes import CANCELED, EXPIRED, INTERRUPTED_CODE
from gateway.jobs.records import JobFault, output_of, read_answer, read_fault, to_text
from gateway.storage.batches.base import BatchStore, EndedLine, StoredBatch
from gateway.storage.files.base import FilesQuery

_PAGE = 32
_PURPOSE = "batch_output"
_CODES = {"canceled": "batch_cancelled", "expired": "batch_expired"}
_encode = msgspec.json.Encoder().encode


_INTERRUPTED = (
    "The gateway died while a backend had this line, and nobody can ask how far it came. It was "
    "not sent again, and may be charged: send it in a new batch."
)


def result_line(line: EndedLine) -> bytes:
    """As OpenAI has it; of one that failed as well."""
    fault = read_fault(line.fault) or read_fault(line.error)
    if fault is not None and fault.code == INTERRUPTED_CODE:
        fault = msgspec.structs.replace(fault, message=_INTERRUPTED)
    id = line.job or f"line_{line.number}"
    response = error = None
    if line.state == "succeeded":
        answer = read_answer(line.answer)
        status = 200 if answer is None else answer.status
        response = {"status_code": status, "request_id": id, "body": output_of(answer)}
    elif fault is None or not fault.status or line.state in _CODES:
        error = _error(line, fault)
    else:
        body = fault.error().body()
        response = {"status_code": fault.status, "request_id": id, "body": body}
    told = {
        "id": f"batch_req_{id}",
        "custom_id": line.custom_id,
        "line": line.number,
        "response": response,
        "error": error,
    }
    return _encode(told) + b"\n"


def _error(line: EndedLine, fault: JobFault | None) -> dict[str, str]:
    fault = fault or {"canceled": CANCELED, "expired": EXPIRED}[line.state or "canceled"].fault
    assert fault is not None
    return {"code": _CODES.get(line.state or "", fault.code), "message": fault.message}


def unfed(number: int, custom_id: str, code: str, message: str) -> EndedLine:
    """A line that was never begun."""
    return EndedLine(
        number=number,
        custom_id=custom_id,
        fault=not_run_text(code, message),
        job="",
        state=None,
        answer="",
        error="",
    )


class BatchResults:
    """Writes them, a page at a time."""

    def __init__(self, store: BatchStore, files: Files, large: LargeBodies | None) -> None:
        self._store = store
        self._files = files
        self._large = large

    async def lines(self, id: str, after: int = 0) -> AsyncIterator[EndedLine]:
        """Those that are jobs or were refused, in their order. Raises StorageUnavailable."""
        while page := await self._store.lines(id, after, _PAGE):
            for line in page:
                yield await self._whole(line)
            after = page[-1].number

    async def _whole(self, line: EndedLine) -> EndedLine:
        """With its answer, where that lies in a file."""
        answer = read_answer(line.answer)
        if answer is None or not answer.file or self._large is None:
            return line
        found = await self._large.whole(answer) or answer
        return msgspec.structs.replace(line, answer=to_text(found))

    async def drop(self, batch: StoredBatch, before: float) -> None:
        """What a gateway has written ``before``, and died before it could say so: whatever came
        later may be the results of one that has the batch now."""
        query = FilesQuery(user=batch.user, purpose=_PURPOSE)
        for file in await self._files.records.find(query):
            if file.created_at < before and file.name.startswith(f"{batch.id}_"):
                await self._files.drop(file.id)

    async def write(
        self, batch: StoredBatch, kind: str, rest: AsyncIterator[EndedLine] | None
    ) -> tuple[str, int]:
        """The id of the file (empty where it would be), and its lines. ``kind``: output, or error,
        of which ``rest`` are those that were never begun."""
        new = NewFile(
            user=batch.user,
            key_id=batch.key_id,
            name=f"{batch.id}_{kind}.jsonl",
            purpose=_PURPOSE,
            content_type="application/jsonl",
        )
        count = 0
        async with self._files.incoming(new, of_ours=True) as out:
            async for line in self.lines(batch.id):
                if (line.state == "succeeded") == (kind == "output"):
                    await out.write(result_line(line))
                    count += 1
            if rest is not None:
                async for line in rest:
                    await out.write(result_line(line))
                    count += 1
        if not count:
            await self._files.drop(out.file.id)
            return "", 0
        return out.file.id, count
