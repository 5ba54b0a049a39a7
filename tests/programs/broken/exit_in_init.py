"""Its process exits while it loads."""

from __future__ import annotations

import os
import sys
from typing import Any

from local_runtime import Request, Runtime

app = Runtime("exit-in-init")


@app.init
def init() -> dict[str, Any]:
    print("about to exit", file=sys.stderr)
    os._exit(7)


@app.handler("/")
def never(context: dict[str, Any], request: Request) -> Any: ...
