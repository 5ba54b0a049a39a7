"""LiteLLM's proxy: one worker, one model, a master key, no database, no telemetry."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.environments import LITELLM
from benchmarks.gateway.processes import HOST, Child, free_port
from benchmarks.gateway.target import MODEL, Target
from benchmarks.gateway.upstream import wait_for_answer

READY = 180.0
KEY = "sk-bench"
CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: {upstream}/v1
      api_key: bench-key
      input_cost_per_token: 0.0000005
      output_cost_per_token: 0.0000015
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches its price list at the start
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "NO_PROXY": HOST,
    "no_proxy": HOST,
}


class LiteLlm:
    name = "litellm"
    streams = True
    large = True

    def start(self, upstream: Target, folder: Path) -> Running:
        LITELLM.ensure()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(model=MODEL, upstream=upstream.url, key=KEY))
        port = free_port()
        child = Child(_command(config, port), log=folder / "litellm.log", env=ENVIRONMENT)
        target = Target(url=f"http://{HOST}:{port}", key=KEY)
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)


def _command(config: Path, port: int) -> list[str]:
    return [
        *(str(LITELLM.python.with_name("litellm")), "--config", str(config)),
        *("--host", HOST, "--port", str(port), "--num_workers", "1"),
    ]
