"""The command line: one module a command, loaded when it is asked for.

``serving/`` runs the gateway; ``policies/`` reads a policy and what it decides, ``access/`` has
keys and what was done with an admin's, ``spending/`` who spent what at which prices, ``recorded/``
what recorded traffic would cost, ``backends/`` how one backend is. ``webhooks`` is who is told of
what; ``package`` writes the files that run an app elsewhere. ``acts`` are entries in the audit
log, ``shared`` is what several need.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from gateway.storage.base import StorageUnavailable


class Command(NamedTuple):
    """Where a command is, below this package, and what it does in a few words."""

    module: str
    about: str


COMMANDS = {
    "serve": Command("serving.serve", "start the gateway"),
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
    "probe": Command(
        "backends.probe",
        "how one backend is, what it costs, and whether our assumptions of it hold",
    ),
}

_EPILOG = """\
examples:
  spillgate serve --config config/default.yaml
  spillgate check --without-secrets config/default.yaml
  spillgate keys create --config config/default.yaml --user alice --plan default
  spillgate usage --config config/default.yaml --group-by user,model --from 7d
  spillgate explain --config config/default.yaml --model minilm

`spillgate COMMAND --help` tells more of each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the answer is no, 2 it was asked wrongly or could not be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given[:1])
    module = importlib.import_module(f"{__name__}.{COMMANDS[options.command].module}")
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
    parser = argparse.ArgumentParser(
        prog="spillgate",
        description="One HTTPS endpoint in front of your own warm GPUs and serverless platforms.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command",
        choices=COMMANDS,
        help="; ".join(f"{name}: {command.about}" for name, command in COMMANDS.items()),
    )
    return parser
