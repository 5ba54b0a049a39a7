"""What pyproject.toml says of this project and of the packages that it needs."""

from __future__ import annotations

import re
import tomllib

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def named(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=~! ]", one)[0]) for one in requirements}
