"""One runtime app by itself over HTTP, with no gateway.

    python -m local_runtime examples/embeddings.py:app --port 8000

The port answers at once, with 503 until the model is loaded. Ctrl-C or SIGTERM lets calls under
way end, then ends everything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from local_runtime.app.model_sizes import bytes_of
from local_runtime.protocol.events import Standby
from local_runtime.protocol.wire import MAX_FRAME
from local_runtime.server.reloading import Reloader, folder_of
from local_runtime.server.serve import Options, serve

MAX_PORT = 65535


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_runtime",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("app", help="folder/file.py:app or package.module:app")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: anyone may call")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes, each with the model")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, or several: a,b")
    parser.add_argument("--standby", choices=get_args(Standby), default="none", help="a spare")
    parser.add_argument("--threads", type=int, help="CPU threads of each worker's model")
    parser.add_argument("--memory", type=bytes_of, help="that its models share, such as 20GiB")
    parser.add_argument("--start-timeout", type=float, default=300.0, help="seconds, to be ready")
    parser.add_argument("--sockets", help="folder in which the workers' framed sockets are found")
    parser.add_argument("--silence", type=float, default=60.0, help="seconds, then it is hung")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds, past a time-out")
    parser.add_argument(
        "--max-message", type=bytes_of, default=MAX_FRAME, help="the largest, such as 256MiB"
    )
    parser.add_argument(
        "--reload", action="store_true", help="anew when a file of the app changes, and on SIGHUP"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the app that the command line names; the exit status. Ends the process with 2 for a
    command that is none."""
    parser = _parser()
    options = parser.parse_args(arguments)
    file = options.app.rpartition(":")[0] or options.app
    if file.endswith(".py") and not Path(file).is_file():
        parser.error(f"no such file: {file}")
    if not 1 <= options.port <= MAX_PORT:
        parser.error(f"--port is 1 to {MAX_PORT}")
    if options.workers < 1:
        parser.error("--workers is at least 1")
    if options.reload:
        given = sys.argv[1:] if arguments is None else arguments
        command = [sys.executable, "-m", "local_runtime"]
        command += [one for one in given if one != "--reload"]
        return Reloader(command, folder_of(options.app)).run()
    return serve(
        Options(
            app=options.app,
            host=options.host,
            port=options.port,
            workers=options.workers,
            device=options.device,
            standby=options.standby,
            threads=options.threads,
            memory=options.memory,
            start_timeout_s=options.start_timeout,
            silence_s=options.silence,
            grace_s=options.grace,
            max_message=options.max_message,
            sockets=options.sockets,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
