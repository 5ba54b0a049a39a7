"""What is left to do once the files are written: the platform's commands, and lines of a policy."""

from __future__ import annotations

from pathlib import Path

from local_runtime.packaging.contents import Package

_RUNPOD = """\
next: build and push the image, and make a queue endpoint of it at RunPod
  docker build --platform linux/amd64 -t YOU/{name} {out}
  docker push YOU/{name}
then, in the policy:
  backends:
    {name}:
      kind: runpod
      endpoint: THE-ENDPOINT-ID
      api_key: ${{RUNPOD_API_KEY}}
      price: list/runpod/h100
      cold_start: {{p50: 5s, p95: 15s}}   # a guess to begin with; learned from then on
      idle_timeout: 5s
"""
_MODAL = """\
next: deploy it
  cd {out} && modal deploy modal_app.py
then, in the policy:
  backends:
    {name}:
      kind: modal
      app: {name}
      cls: {cls}
      method: call
      token_id: ${{MODAL_TOKEN_ID}}
      token_secret: ${{MODAL_TOKEN_SECRET}}
      cold_start: {{p50: 5s, p95: 15s}}   # a guess to begin with; learned from then on
      idle_timeout: 60s
"""
_COG = """\
next: build the image, and run it, or push it to Replicate
  cd {out} && cog build -t {name} && docker run --rm -p 5000:5000 {name}
then, in the policy:
  backends:
    {name}:
      kind: cog
      base_url: http://127.0.0.1:5000
"""
_MODEL = """\
  models:
    {name}: {{task: infer, backends: [{name}]}}
"""
_OF = {"runpod": _RUNPOD, "modal": _MODAL, "cog": _COG}


def next_steps(package: Package, platform: str, out: Path) -> str:
    """What a person reads after the list of files."""
    text = _OF[platform] + _MODEL
    return text.format(name=package.name, out=out, cls=package.title)
