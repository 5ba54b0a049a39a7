"""Writes the few files that run an app on another platform.

The folder is whole: the app's source and the neighbours that it imports, this runtime, and the
platform's own files. Nothing is overwritten without --force. The generated files are yours.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from local_runtime.loader import AppNotFound
from local_runtime.parcel import cog, modal, runpod
from local_runtime.parcel.contents import Parcel, Unpackable, parcel_of

PLATFORMS: dict[str, Callable[[Parcel], dict[str, str]]] = {
    "runpod": runpod.files,
    "modal": modal.files,
    "cog": cog.files,
}
RUNTIME = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "parcel")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="spillgate package",
        description=__doc__,
        epilog="example:\n  spillgate package shout.py:app --for runpod --out shout-runpod",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("app", help="folder/file.py:app")
    parser.add_argument("--for", dest="platform", required=True, choices=PLATFORMS)
    parser.add_argument("--out", type=Path, help="the folder; else NAME-PLATFORM")
    parser.add_argument("--route", default="", help='of several; "/" unless told')
    parser.add_argument("--gpu", default="", help="the platform's word for a GPU, such as T4")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    return parser.parse_args(arguments)


def write(parcel: Parcel, platform: str, out: Path, *, force: bool) -> list[str]:
    """Writes the parcel; the names of what it holds. Raises Unpackable where that would overwrite
    something, and then nothing is written."""
    files = PLATFORMS[platform](parcel)
    names = [*files, *(source.name for source in parcel.sources), RUNTIME.name]
    if double := {name for name in names if names.count(name) > 1}:
        raise Unpackable(f"the app's {', '.join(double)} would be overwritten by the platform's")
    there = [name for name in names if (out / name).exists()]
    if there and not force:
        raise Unpackable(f"{out} has {', '.join(there)} already: --force overwrites them")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text)
    for source in (*parcel.sources, RUNTIME):
        _copy(source, out / source.name)
    return names


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        parcel = parcel_of(options.app, route=options.route, gpu=options.gpu)
        out = options.out or Path(f"{parcel.name}-{options.platform}")
        names = write(parcel, options.platform, out, force=options.force)
    except (Unpackable, AppNotFound) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{out}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
