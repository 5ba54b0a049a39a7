"""The command-line options that every supervisor takes, wherever its workers are."""

from __future__ import annotations

import argparse
from functools import partial

from local_runtime.protocol.wire import MAX_FRAME
from local_runtime.supervisor.lifecycle import RestartPolicy
from local_runtime.supervisor.worker_process import GRACE_S, Launch


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the app, and what ``policy_of`` and ``launcher_of`` read."""
    parser.add_argument("app", help="folder/file.py:app or package.module:app")
    parser.add_argument("--name", default="", help="of the backend, before each line of the log")
    parser.add_argument("--threads", type=int, help="CPU threads of each worker's model")
    parser.add_argument("--start-timeout", type=float, default=RestartPolicy().start_timeout_s)
    parser.add_argument("--silence", type=float, default=RestartPolicy().silence_s)
    parser.add_argument("--grace", type=float, default=GRACE_S)
    parser.add_argument("--max-frame", type=int, default=MAX_FRAME)
    parser.add_argument("--memory", type=int, help="bytes that the models of a worker share")
    parser.add_argument("--models", default="", help="what they are declared to be, as JSON")


def policy_of(options: argparse.Namespace) -> RestartPolicy:
    """When workers are started again and killed."""
    return RestartPolicy(start_timeout_s=options.start_timeout, silence_s=options.silence)


def launcher_of(options: argparse.Namespace) -> partial[Launch]:
    """Makes a ``Launch`` of what else is to be said of a worker: its index, and where it is."""
    return partial(
        Launch,
        app=options.app,
        threads=options.threads,
        grace_s=options.grace,
        max_frame=options.max_frame,
        memory=options.memory,
        models=options.models,
    )
