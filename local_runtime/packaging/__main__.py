"""Writes the few files that run an app on another platform.

The folder is whole: the app's source and the neighbours that it imports, this runtime, and the
platform's own files. --with adds what no import names. Nothing is overwritten without --force. The
generated files are yours.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from local_runtime.app.find_app import AppNotFound
from local_runtime.packaging import cog, modal, runpod
from local_runtime.packaging.contents import OWN, Package, Unpackable, package_of
from local_runtime.packaging.next_steps import next_steps

PLATFORMS: dict[str, Callable[[Package], dict[str, str]]] = {
    "runpod": runpod.files,
    "modal": modal.files,
    "cog": cog.files,
}
RUNTIME = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns("__pycache__")
_LEFT_OUT_OF_OURS = shutil.ignore_patterns("__pycache__", "packaging")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for; ends the process with a word on how to ask where that is no command."""
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
    parser.add_argument(
        "--with",
        dest="besides",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="a file or folder below the app's folder that it reads, such as labels.json",
    )
    parser.add_argument("--gpu", default="", help="the platform's word for a GPU, such as T4")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    return parser.parse_args(arguments)


def write(package: Package, platform: str, out: Path, *, force: bool) -> list[str]:
    """Writes the package; the names of what it holds. Raises Unpackable where that would overwrite
    something, and then nothing is written."""
    files = PLATFORMS[platform](package)
    sources = {str(path.relative_to(package.folder)): path for path in package.sources}
    names = [*files, *sources, RUNTIME.name]
    if double := {name for name in names if names.count(name) > 1}:
        raise Unpackable(f"the app's {', '.join(double)} would be overwritten by the platform's")
    if hiding := [name for name in sources if Path(name).stem in (platform, *OWN)]:
        raise Unpackable(
            f"the app's {', '.join(hiding)} would be imported for the package so named"
        )
    there = [name for name in names if (out / name).exists()]
    if there and not force:
        raise Unpackable(f"{out} has {', '.join(there)} already: --force overwrites them")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text)
    for name, source in sources.items():
        _copy(source, out / name, _LEFT_OUT)
    _copy(RUNTIME, out / RUNTIME.name, _LEFT_OUT_OF_OURS)
    return names


def _copy(source: Path, target: Path, left_out: Callable[..., set[str]]) -> None:
    if source.resolve() == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the package that the command line asks for; the exit status, 2 where it cannot."""
    options = parse(arguments)
    try:
        package = package_of(
            options.app, route=options.route, gpu=options.gpu, besides=options.besides
        )
        out = options.out or Path(f"{package.name}-{options.platform}")
        names = write(package, options.platform, out, force=options.force)
    except (Unpackable, AppNotFound) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{out}: {', '.join(names)}")
    print(next_steps(package, options.platform, out), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
