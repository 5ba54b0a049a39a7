"""A Potassium app whose import leaves things in the thread that its handlers run in."""

import asyncio
import signal
import sqlite3
import threading
import time

from local_runtime.potassium import Potassium, Request, Response

app = Potassium("threads")
here = threading.local()
here.word = "imported"
connection = sqlite3.connect(":memory:")
state = {"steps": 0}


async def one() -> int:
    return 1


@app.init
def init() -> dict[str, object]:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return {"thread": threading.current_thread().name}


@app.handler("/plain")
def plain(context: dict[str, object], request: Request) -> Response:
    made = {
        "word": getattr(here, "word", None),
        "sqlite": connection.execute("select 1").fetchone()[0],
        "run": asyncio.run(one()),
        "main": threading.current_thread() is threading.main_thread(),
        "init": context["thread"],
    }
    return Response(json=made, status=200)


@app.handler("/blocks", timeout=0.5)
async def blocks(context: dict[str, object], request: Request) -> Response:
    time.sleep(60)
    return Response(json={}, status=200)


@app.handler("/swallows", timeout=0.5)
async def swallows(context: dict[str, object], request: Request) -> Response:
    while True:
        try:
            await asyncio.sleep(0.05)
            state["steps"] += 1
        except asyncio.CancelledError:
            pass


@app.handler("/steps")
def steps(context: dict[str, object], request: Request) -> Response:
    return Response(json=state, status=200)
