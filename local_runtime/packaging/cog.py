"""A Cog predictor: https://cog.run/python"""

from __future__ import annotations

import keyword
from string import Template

from local_runtime.packaging.contents import Package

_PREDICT = '''\
"""Cog's predictor around $app, written by `spillgate package`: `cog build`.

Assumed: $assumed.
"""

from __future__ import annotations

${imports}from pathlib import Path
from typing import Any

from cog import BasePredictor, Input

from local_runtime.hosted import Hosted

APP = Path(__file__).with_name("$file")
ROUTE = "$route"


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.hosted = Hosted(f"{APP}:$attribute")

    ${async_}def predict(
        self,$fields) -> $result:
        $answer
'''
_YAML = """\
build:
  gpu: $gpu
  python_version: "$python"
  python_requirements: requirements.txt
${concurrency}predict: "predict.py:Predictor"
"""
_KINDS = {str: "str", bool: "bool", int: "int", float: "float"}


def fields_of(sample: object) -> dict[str, str] | None:
    """The names and types of a request's fields, where a sample shows that all are scalars: Cog's
    inputs are the parameters of a function."""
    if not isinstance(sample, dict) or not sample:
        return None
    kinds = {name: _KINDS.get(type(value)) for name, value in sample.items()}
    plain = all(name.isidentifier() and not keyword.iskeyword(name) for name in kinds)
    found = {name: kind for name, kind in kinds.items() if kind is not None}
    return found if plain and len(found) == len(kinds) and "self" not in found else None


def files(package: Package) -> dict[str, str]:
    """File name -> text."""
    fields = fields_of(package.sample)
    given = {
        "app": package.app,
        "file": package.file,
        "attribute": package.attribute,
        "route": package.route,
        "gpu": "true" if package.gpu else "false",
        "python": package.python,
        **_signature(fields),
        **_result(package),
    }
    return {
        "predict.py": Template(Template(_PREDICT).safe_substitute(given)).substitute(given),
        "cog.yaml": Template(_YAML).substitute(given),
        "requirements.txt": "\n".join(package.requirements) + "\n",
    }


def _signature(fields: dict[str, str] | None) -> dict[str, str]:
    if fields is None:
        return {
            "fields": '\n        body: str = Input(description="the request, as JSON"),\n    ',
            "request": "json.loads(body)",
            "modules": "import json\n",
            "assumed": "the warm-up request of the app shows no fields of plain types, so the one\n"
            "input is the request as JSON text",
        }
    lines = [f'{name}: {kind} = Input(description="{name}")' for name, kind in fields.items()]
    request = ", ".join(f'"{name}": {name}' for name in fields)
    return {
        "fields": "".join(f"\n        {line}," for line in lines) + "\n    ",
        "request": f"{{{request}}}",
        "modules": "",
        "assumed": "every request has the fields of the app's warm-up request, and no others",
    }


def _result(package: Package) -> dict[str, str]:
    """Cog hands over several calls at once to an async predictor alone, and the pieces of a stream
    as they come from a plain one alone."""
    call = "self.hosted.{}(ROUTE, ${{request}})"
    given = {"imports": "${modules}", "result": "Any", "async_": "", "concurrency": ""}
    if package.streams:
        given["imports"] += "from collections.abc import Iterator\n"
        pieces = call.format("pieces")
        return {**given, "result": "Iterator[Any]", "answer": f"yield from {pieces}"}
    if package.slots == 1:
        return {**given, "answer": f"return {call.format('call')}"}
    several = {"async_": "async ", "concurrency": f"concurrency:\n  max: {package.slots}\n"}
    return {**given, **several, "answer": f"return await {call.format('acall')}"}
