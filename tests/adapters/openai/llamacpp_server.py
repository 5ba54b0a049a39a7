"""llama.cpp's own server, over a tiny model: ``python -m tests.adapters.openai.llamacpp_server``.

    python -m tests.adapters.openai.llamacpp_server MODEL PORT SLOTS [--metrics] [--sleep SECONDS]

It ends when its standard input does.
"""

from __future__ import annotations

import argparse
import sys

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("slots", type=int)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--sleep", type=int, default=-1)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = 512 * options.slots
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.endpoint_slots = True
    params.endpoint_metrics = options.metrics
    params.sleep_idle_seconds = options.sleep
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
