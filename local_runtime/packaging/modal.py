"""A Modal app: https://modal.com/docs/guide/lifecycle-functions"""

from __future__ import annotations

import math
from string import Template

from local_runtime.packaging.contents import Package

START_S = 600
"""How long ``Hosted`` waits for the app."""
LONGER_S = 30
"""What the platform allows beside that and beside a handler's time-out: it should hear of the
runtime what was late, and not end the container before."""
_APP = '''\
"""Modal's app around $app, written by `spillgate package`: `modal deploy modal_app.py`.

Calls are requests of $route; {"spillgate_ping": true} keeps a container awake and costs nothing.
Assumed: everything beside this file belongs to the image; $gpu_words.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal

HERE = Path(__file__).parent
ROUTE = "$route"
image = (
    modal.Image.debian_slim(python_version="$python")
    .pip_install_from_requirements(str(HERE / "requirements.txt"))
    .add_local_dir(str(HERE), remote_path="/root")
)
app = modal.App("$name", image=image)


@app.cls(${gpu}timeout=$timeout, startup_timeout=$start_timeout)
@modal.concurrent(max_inputs=$slots)
class $title:
    @modal.enter()
    def load(self) -> None:
        from local_runtime.hosted import Hosted

        self.hosted = Hosted(f"{HERE / '$file'}:$attribute")

    @modal.exit()
    def close(self) -> None:
        self.hosted.close()

    @modal.method()
    def call(self, body: dict[str, Any]) -> Any:
        if body == {"spillgate_ping": True}:
            return {"pong": True}
        return self.hosted.call(ROUTE, body)

    @modal.method()
    def stream(self, body: dict[str, Any]) -> Iterator[Any]:
        yield from self.hosted.pieces(ROUTE, body)
'''


def files(package: Package) -> dict[str, str]:
    """File name -> text."""
    words = (
        f"a GPU of the sort {package.gpu}" if package.gpu else "no GPU: add gpu=... to the class"
    )
    given = {
        "app": package.app,
        "file": package.file,
        "attribute": package.attribute,
        "route": package.route,
        "slots": str(package.slots),
        "name": package.name,
        "title": package.title,
        "gpu": f'gpu="{package.gpu}", ' if package.gpu else "",
        "timeout": str(math.ceil(package.timeout_s) + LONGER_S),
        "start_timeout": str(START_S + LONGER_S),
        "python": package.python,
        "gpu_words": words,
    }
    return {
        "modal_app.py": Template(_APP).substitute(given),
        "requirements.txt": "\n".join(package.requirements) + "\n",
    }
