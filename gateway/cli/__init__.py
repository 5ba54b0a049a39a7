"""The command line: one module a command, loaded when it is asked for.

``serving/`` runs the gateway, ``running/`` talks to one that runs, ``upkeep/`` writes a first
policy and looks for faults; ``policies/`` reads a policy and what it decides, ``access/`` has keys
and what was done with an admin's, ``spending/`` who spent what at which prices, ``recorded/`` what
recorded traffic would cost, ``backends/`` how one backend is,
``batches/`` files of calls. ``webhooks`` is who is told of what;
``package`` writes the files that run an app elsewhere. ``acts`` are entries in the audit log,
``policy_file`` finds the policy; ``parsers`` reads what commands may be told, ``completion`` tells
a shell of it; ``terminal`` draws tables, and ``on_stderr`` a bar; ``shared`` is what
several need.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import platform
import sys
from collections.abc import Sequence
from typing import NamedTuple

from gateway.storage.base import StorageUnavailable
from local_runtime import gc_tuning


class Command(NamedTuple):
    """Where a command is, below this package, and what it does in a few words."""

    module: str
    about: str


COMMANDS = {
    "serve": Command("serving.serve", "start the gateway"),
    "status": Command("running.status", "how a running gateway stands"),
    "top": Command("running.top", "the same, drawn again and again"),
    "backends": Command("running.backends", "how backends stand; drain one, enable it"),
    "policy": Command("running.policy", "what is in force; compare, apply, roll back"),
    "schedules": Command("running.schedules", "what begins by the clock, and what became of it"),
    "calls": Command("running.calls", "calls that have ended, and all of one"),
    "init": Command("upkeep.init", "write a first policy"),
    "doctor": Command("upkeep.doctor", "what would keep a gateway from working, and what to do"),
    "batch": Command("batches.batch", "run a file of calls; list, show and cancel batches"),
    "backup": Command("upkeep.backup", "ledger, keys and certificates in one file"),
    "restore": Command("upkeep.restore", "what a backup has, where no gateway runs"),
    "check": Command("policies.check", "validate a policy"),
    "keys": Command("access.keys", "make, list, revoke and rotate API keys"),
    "audit": Command("access.audit", "what administrators did"),
    "usage": Command("spending.usage", "who spent what"),
    "webhooks": Command("webhooks", "who is told of what: test, redeliver, enable"),
    "explain": Command("policies.explain", "which backend a call would get, and why"),
    "package": Command("package", "write the files that run an app on RunPod, Modal or Cog"),
    "prices": Command("spending.prices", "what platforms ask, and what the policy charges"),
    "replay": Command(
        "recorded.replay", "what recorded traffic would cost, and how much better it could be done"
    ),
    "advise": Command(
        "recorded.advise", "how many GPUs to reserve for recorded traffic, and what that saves"
    ),
    "tune": Command(
        "recorded.tune", "a change of the policy that would have cost less, by the ledger"
    ),
    "completion": Command("completion", "what a shell needs to complete commands and options"),
    "probe": Command(
        "backends.probe",
        "how one backend is, what it costs, and whether our assumptions of it hold",
    ),
}

_EPILOG = """\
examples:
  spillgate serve --config config/default.yaml
  spillgate check --without-secrets config/default.yaml
  spillgate keys create --user alice --plan default
  spillgate usage --group-by user,model --from 7d
  spillgate explain --model minilm

Without --config it is the policy of $SPILLGATE_CONFIG, else ./spillgate.yaml, else
./config/default.yaml. `spillgate COMMAND --help` tells more of each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the answer is no, 2 it was asked wrongly or could not be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = _parser().parse_args(given[:1]).command
    if command not in COMMANDS:
        print(_unknown(command), file=sys.stderr)
        return 2
    with gc_tuning.importing():
        module = importlib.import_module(f"{__name__}.{COMMANDS[command].module}")
    try:
        status: int = module.main(given[1:])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except StorageUnavailable as unavailable:
        print(unavailable, file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = "".join(f"  {name:<{width}}  {one.about}\n" for name, one in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="spillgate",
        usage="spillgate COMMAND ...",
        description="One HTTPS endpoint in front of your own warm GPUs and serverless platforms.",
        epilog=f"commands:\n{commands}\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", metavar="COMMAND", help="one of the commands below")
    parser.add_argument("-h", "--help", action="help", help="show this, and end")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version, and end")
    return parser


class _ShowVersion(argparse.Action):
    """Looks it up when it is asked for: that takes longer than to read the other arguments."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version())
        parser.exit()


def _unknown(command: str) -> str:
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    perhaps = f"; did you mean {near[0]}?" if near else "."
    return f"spillgate: there is no command {command!r}{perhaps} `spillgate --help` lists them."


def version() -> str:
    """Such as 'spillgate 0.1.0 (Python 3.11.7)'; without a number where it is not installed."""
    # Imported here because the commands themselves have no use for it.
    import importlib.metadata

    try:
        number = importlib.metadata.version("spillgate")
    except importlib.metadata.PackageNotFoundError:
        number = "(not installed)"
    return f"spillgate {number} (Python {platform.python_version()})"
