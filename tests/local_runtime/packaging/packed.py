"""An app of two files, and how it is packed."""

from __future__ import annotations

from pathlib import Path

from local_runtime.packaging.__main__ import main

WORDS = "def loud(text: str) -> str:\n    return text.upper()\n"
APP = """\
from local_runtime import Batch, InvalidInput, Runtime
from words import loud

app = Runtime("Loud shout")


@app.handler("/", warmup={"text": "hello"})
def shout(context, request):
    if not request.json.get("text"):
        raise InvalidInput("text must not be empty", param="text")
    return {"text": loud(request.json["text"])}


@app.handler("/letters", warmup={"text": "hello"})
def letters(context, request):
    for letter in request.json["text"]:
        yield {"letter": loud(letter)}


@app.handler("/lists", warmup={"texts": ["a"]})
def lists(context, request):
    return [loud(text) for text in request.json["texts"]]


@app.handler("/together", batch=Batch(max_size=4, max_wait_s=0.5), warmup={"text": "hello"})
def together(context, requests):
    return [f"{request.json['text']} of {len(requests)}" for request in requests]
"""


def written(folder: Path) -> str:
    """The app's name, once its files are there."""
    (folder / "shout.py").write_text(APP)
    (folder / "words.py").write_text(WORDS)
    return f"{folder / 'shout.py'}:app"


def packed(app: str, platform: str, *options: str) -> Path:
    out = Path(app).parent / platform
    assert main([app, "--for", platform, "--out", str(out), *options]) == 0
    return out
