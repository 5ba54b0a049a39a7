"""The command line: one module a command, loaded when it is asked for.

``serve`` runs the gateway as a ``server``, ``serve_together`` several of them; ``data_lock`` keeps
a second one from its data folder, ``listener`` has its connections, and ``banner`` tells a newcomer
how to call it; ``check`` validates a
policy; ``keys`` makes, lists, revokes and rotates; ``audit`` is what
administrators did; ``usage`` is who spent what, with ``reconcile``
for the bills of the platforms beside it and ``forecast`` for where it leads; ``webhooks`` is who
is told of what; ``explain`` asks which backend a call would get;
``package`` writes the files that run an app elsewhere; ``probe`` asks how one backend is, by the
questions of ``probe_report`` and the prices of ``price_check``; ``prices`` lists prices and holds
them against others; ``replay`` runs recorded traffic against simulated workers, ``advise`` says
what to reserve for it, ``tune`` which change of the policy would save. ``acts`` are
entries in the audit log, ``shared`` is what several need, ``recorded`` what those need that read
recordings.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from gateway.storage.base import StorageUnavailable

COMMANDS = {
    "serve": "start the gateway",
    "check": "validate a policy",
    "keys": "make, list, revoke and rotate API keys",
    "audit": "what administrators did",
    "usage": "who spent what",
    "webhooks": "who is told of what: test, redeliver, enable",
    "explain": "which backend a call would get, and why",
    "package": "write the files that run an app on RunPod, Modal or Cog",
    "prices": "what platforms ask, and what the policy charges",
    "replay": "what recorded traffic would cost, and how much better it could be done",
    "advise": "how many GPUs to reserve for recorded traffic, and what that saves",
    "tune": "a change of the policy that would have cost less, by the ledger",
    "probe": "how one backend is, what it costs, and whether our assumptions of it hold",
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
    module = importlib.import_module(f"gateway.cli.{options.command}")
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
        help="; ".join(f"{name}: {text}" for name, text in COMMANDS.items()),
    )
    return parser
