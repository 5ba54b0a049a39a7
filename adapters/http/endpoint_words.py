"""What a platform says of its endpoint where it should say something of a call: that it is paused,
not there, out of money or of workers. Pure.

Platforms say it under whatever status they like, also one that blames the caller: a paused endpoint
of Hugging Face answers 400 "Bad Request: Invalid state"
(https://github.com/elastic/elasticsearch/issues/112033), beta9 says 500 of a workspace without
credit (https://github.com/beam-cloud/beta9/issues/1827), and others 200. Nothing has run then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.http.failures import OUR_MATTER, clean
from adapters.settings import Secret
from adapters.shapes.error_words import words_in

_PLACE = r"(?:endpoint|deployment|model|workspace|organi[sz]ation|account|project)"
_NAMED = r"""(?:\s+(?:'[^']+'|"[^"]+"|[\w./:-]*[\d/_-][\w./:-]*))?"""
"""Of an endpoint: in quotes, or no word of a language."""
_IS = r"(?:\s+(?:is|was|are|has|have|been|currently|now|temporarily))*\s+"
_SHUT = (
    r"(?:paused|disabled|stopped|suspended|deactivated|inactive|archived|deleted|retired"
    r"|not active|no longer (?:exists|available|deployed))"
)
_IS_NOT_THERE = r"(?:not found|(?:does not|doesn't) exist|not deployed)"
_MONEY = re.compile(
    r"insufficient (?:funds|balance|credits?|quota)|not enough (?:credits?|funds|balance|money)"
    r"|(?:out of|no (?:more|remaining|free)|zero) credits?\b"
    r"|(?:spend|billing|spending) (?:[a-z]+ )?limit"
    r"|payment (?:is )?required|add a payment method|balance is (?:too low|negative|zero)"
    r"|quota (?:was |is |has been )?(?:exceeded|reached)",
    re.I,
)
_WORKER = r"(?:workers?|replicas?|runners?|containers?|gpus?)"
_NO_WORKER = re.compile(
    rf"\bno (?:available|healthy|free|idle|ready) {_WORKER}\b"
    rf"|\bno {_WORKER} (?:is |are )?(?:available|found|ready|free)\b|\bno capacity\b"
    r"|workers? (?:are |is )?throttled|(?:max|maximum) workers? (?:is |are )?(?:set to )?0\b"
    r"|(?:workers?[._ ]?max|max[._ ]?workers?) (?:is |are )?0\b|queue is full",
    re.I,
)
_CLOSED = re.compile(
    rf"\b{_PLACE}{_NAMED}{_IS}(?:{_SHUT}|{_IS_NOT_THERE})\b"
    rf"|\b{_SHUT} {_PLACE}\b|\b(?:no such|unknown) {_PLACE}\b"
    r"|^(?:bad request: )?invalid state$",
    re.I,
)
_LOADING = re.compile(
    rf"\b{_PLACE}{_NAMED}{_IS}(?:not (?:yet )?ready|(?:still )?(?:building|deploying|loading"
    r"|starting|booting|waking up))\b",
    re.I,
)
_UNDER_ANY = frozenset(
    (FailureClass.INVALID, FailureClass.CREDENTIAL, FailureClass.FAILED, FailureClass.OVERLOADED)
)
"""Classes of a status that words are believed over."""
_SERVERS_OWN = 500


def named_in(said: str) -> FailureClass | None:
    """What words say of the endpoint; None where they speak of something else."""
    if _MONEY.search(said):
        return FailureClass.QUOTA
    if _NO_WORKER.search(said):
        return FailureClass.OVERLOADED
    if _LOADING.search(said):
        return FailureClass.LOADING
    return FailureClass.GONE if _CLOSED.search(said) else None


def about_the_endpoint(error: BackendError, *, no_handlers: bool = False) -> BackendError:
    """A refusal whose words speak of the endpoint, understood so. It may repeat what the caller
    wrote, so a single one blames neither. ``no_handlers``: its 5xx are the platform's own as well,
    never those of the code that it runs."""
    status = error.status or 0
    if error.failure not in _UNDER_ANY or (status >= _SERVERS_OWN and not no_handlers):
        return error
    meant = named_in(error.detail.removeprefix(f"HTTP {status}: "))
    if meant is None or meant is error.failure:
        return error
    understood = error.reclassed(meant, OUR_MATTER.get(meant))
    understood.fault, understood.ran = Fault.SUSPECT, Ran.NO
    return understood


def no_job(answer: Any, secrets: Sequence[Secret] = ()) -> BackendError | None:
    """What a good answer means that should name a job and holds words instead: there is none, so
    nothing has run. None where it says nothing."""
    said = clean(words_in(answer), secrets)
    if not said:
        return None
    kind = named_in(said) or FailureClass.FAILED
    return BackendError(kind, OUR_MATTER.get(kind, said), detail=said, ran=Ran.NO)
