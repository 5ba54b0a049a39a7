"""python -m examples.overflow --port 8700: a serverless platform on one machine."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence

import uvicorn

from examples.overflow.app import make_app
from examples.overflow.meter import Meter
from examples.overflow.platform import GPU_HOUR, Platform
from examples.overflow.workers import Scale


class Front(uvicorn.Server):
    """A server that ends the requests it holds before it waits for them."""

    def __init__(self, config: uvicorn.Config, platform: Platform) -> None:
        super().__init__(config)
        self._platform = platform

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._platform.hang_up()
        await super().shutdown(sockets)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    api_key = os.environ.get("RUNPOD_API_KEY", "")
    if not api_key:
        print("set RUNPOD_API_KEY to the key that callers will send", file=sys.stderr)
        return 2
    platform = Platform(
        url=f"http://127.0.0.1:{options.port}",
        endpoint=options.endpoint,
        module=options.worker,
        scale=Scale(
            min_workers=0, max_workers=options.max_workers, idle_timeout=options.idle_timeout
        ),
        meter=Meter(options.gpu_hour),
    )
    config = uvicorn.Config(
        make_app(platform, api_key=api_key, preload=options.preload),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    Front(config, platform).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.overflow",
        description="RunPod's job protocol on 127.0.0.1, in front of RunPod's own worker program. "
        "Callers send RUNPOD_API_KEY as a bearer token.",
        epilog="example: RUNPOD_API_KEY=local python -m examples.overflow --port 8700",
    )
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--endpoint", default="overflow", help="the endpoint's id in the URLs")
    parser.add_argument("--idle-timeout", type=float, default=30.0, help="seconds; then it ends")
    parser.add_argument("--max-workers", type=int, default=1)
    parser.add_argument(
        "--gpu-hour", type=float, default=GPU_HOUR, help="USD that an hour of a worker is billed at"
    )
    parser.add_argument("--preload", action="store_true", help="start a worker at once")
    parser.add_argument(
        "--worker", default="examples.overflow.worker", help="the module that is a worker"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
