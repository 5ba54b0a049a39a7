"""A cold start in its parts, each in a process of its own.

    python -m benchmarks.gpu.cold FOLDER DEVICE SIZE

loads the encoder whose weights lie in FOLDER, answers twice, and prints what each part took.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

BEGUN = time.perf_counter()

import msgspec  # noqa: E402 - the clock runs while torch is imported
import torch  # noqa: E402

from benchmarks.gpu.models import ENCODERS, Size, encoder_module  # noqa: E402
from local_runtime.pytorch import Served, load  # noqa: E402

TIMEOUT_S = 600.0


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. What the interpreter itself takes to start is not in them."""

    imports: float
    """torch and the model's architecture."""
    device: float
    """Until the device has taken its first tensor."""
    weights: float
    """The module built and its weights on the device."""
    first: float
    """The first answer."""
    second: float
    """The next one: what an answer costs once warm."""


def save(folder: Path, size: Size) -> None:
    """Weights of the encoder, as a model's folder has them."""
    from safetensors.torch import save_file

    save_file(encoder_module(size).state_dict(), folder / "model.safetensors")


def start(folder: Path, device: torch.device, size: str) -> Start:
    """One cold start, with the files in the page cache. Raises CalledProcessError."""
    command = [sys.executable, "-m", "benchmarks.gpu.cold", str(folder), str(device), size]
    environ = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S, env=environ
    )
    return msgspec.json.decode(done.stdout, type=Start)


def _run(folder: Path, device: torch.device, size: Size) -> Start:
    import transformers.models.bert.modeling_bert  # noqa: F401

    laps = [BEGUN, time.perf_counter()]
    torch.zeros(1, device=device).cpu()
    laps.append(time.perf_counter())
    model = load(lambda: encoder_module(size), folder, device=device)
    laps.append(time.perf_counter())
    served = Served(lambda ids: model(input_ids=ids).last_hidden_state[:, 0], device=device)
    for _ in range(2):
        served(torch.ones(1, size.tokens, dtype=torch.int64))
        laps.append(time.perf_counter())
    parts = [after - before for before, after in itertools.pairwise(laps)]
    return Start(
        imports=parts[0], device=parts[1], weights=parts[2], first=parts[3], second=parts[4]
    )


def main(folder: str, device: str, size: str) -> None:
    sizes = {str(name): value for name, value in ENCODERS.items()}
    print(msgspec.json.encode(_run(Path(folder), torch.device(device), sizes[size])).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
