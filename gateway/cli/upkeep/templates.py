"""The policies that ``spillgate init`` writes."""

from __future__ import annotations

import msgspec


class Question(msgspec.Struct, frozen=True):
    """What has to be known, by the name of its option."""

    name: str
    text: str
    default: str
    """Empty: it has to be answered."""


class FirstPolicy(msgspec.Struct, frozen=True):
    about: str
    questions: tuple[Question, ...]
    secrets: tuple[str, ...]
    """Variables that must be set before the gateway is started."""
    backends: str
    """YAML, with the answers in {braces}."""
    kind: str
    """The task of the model, where the answers do not say it."""


_MODEL = Question("model", "the name by which callers ask for the model", "my-model")
_GPU = Question("gpu", "the GPU, as in `spillgate prices`", "h100")

TEMPLATES = {
    "local": FirstPolicy(
        about="a model in worker processes on this machine",
        questions=(
            _MODEL,
            Question("app", "the app, file.py:app; made where it is missing", "model.py:app"),
        ),
        secrets=(),
        kind="infer",
        backends="""\
  home:                         # worker processes on this machine, warm as long as the gateway runs
    kind: local
    app: {app}
    workers: 1                  # one for each GPU, or more for small models
    required: true              # /readyz waits until it is warm
    price: this-machine
""",
    ),
    "vllm-runpod": FirstPolicy(
        about="a vLLM server of yours, and RunPod for what is above it",
        questions=(
            _MODEL,
            Question("url", "where vLLM listens", "http://127.0.0.1:8000/v1"),
            Question("endpoint", "the id of the RunPod endpoint of that model", ""),
            _GPU,
        ),
        secrets=("RUNPOD_API_KEY",),
        kind="chat",
        backends="""\
  home:                         # the reserved baseline
    kind: openai
    base_url: {url}
    concurrency: 64             # calls at once; more wait in line, or go to the next backend
    price: this-machine
  burst:                        # the overflow: billed by the second, asleep until it is asked
    kind: runpod
    endpoint: {endpoint}
    mode: openai
    api_key: ${{RUNPOD_API_KEY}}
    price: list/runpod/{gpu}
    cold_start: {{p50: 30s, p95: 90s}}   # a guess to begin with; learned from then on
    idle_timeout: 5s
    max_run: 10m                # no call runs longer, and none costs more than that
""",
    ),
    "modal": FirstPolicy(
        about="a function or class that you have deployed on Modal",
        questions=(
            _MODEL,
            Question("app", "the name of the Modal app", ""),
            Question("function", "the function in it that takes a call", ""),
            _GPU,
        ),
        secrets=("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"),
        kind="infer",
        backends="""\
  burst:                        # billed by the second, asleep until it is asked
    kind: modal
    app: {app}
    function: {function}
    token_id: ${{MODAL_TOKEN_ID}}
    token_secret: ${{MODAL_TOKEN_SECRET}}
    scaledown_window: 1m        # as it was deployed
    price: list/modal/{gpu}
    cold_start: {{p50: 10s, p95: 40s}}   # a guess to begin with; learned from then on
    idle_timeout: 1m
    max_run: 10m                # no call runs longer, and none costs more than that
""",
    ),
    "replicate": FirstPolicy(
        about="a deployment of yours on Replicate",
        questions=(
            _MODEL,
            Question("deployment", "the deployment, owner/name", ""),
            _GPU,
        ),
        secrets=("REPLICATE_API_TOKEN",),
        kind="infer",
        backends="""\
  burst:                        # billed by the second, asleep until it is asked
    kind: replicate
    deployment: {deployment}
    api_key: ${{REPLICATE_API_TOKEN}}
    price: list/replicate/{gpu}
    cold_start: {{p50: 30s, p95: 2m}}    # a guess to begin with; learned from then on
    idle_timeout: 1m
    max_run: 10m                # no call runs longer, and none costs more than that
""",
    ),
}

_POLICY = """\
# Written by `spillgate init`: {about}.
# `spillgate check` tells every problem by line and column; `spillgate doctor` what else is missing.
# `kill -HUP` of the gateway puts a change of this file into force, whole or not at all.
version: 1

server:
  listen: {listen}
  tls: auto                     # a local certificate authority, made once; clients trust its ca.pem
  data: .spillgate              # keys, certificates, the ledger

store:
  ledger: sqlite:///.spillgate/ledger.db
  shared: memory://             # redis://HOST:6379/0 where several gateways share limits

backends:
{backends}
models:
  {model}: {{task: {kind}, backends: [{order}], slo: 10s}}   # the longest wait a call should see
{prices}
routes:                         # the first that matches decides
  - {{name: default, use: [{order}], order: cheapest}}

plans:                          # what each user of the plan may use and spend
  default: {{requests: 60/minute, concurrent: 4, spend: {spend} USD/month}}

limits:                         # of the whole gateway: no more is ever bought in a month
  spend: {cap} USD/month
"""

_OWN_PRICE = """
prices:                         # what your own machine costs; put in what you pay
  this-machine: {{per_hour: {hourly}, as_of: {today}, source: "an assumption: put your own here"}}
"""

APP = '''"""A model. ``init`` runs once in each worker; the handler gets what calls sent."""

from local_runtime import Batch, Runtime

app = Runtime("my-model")


@app.init
def init():
    return {"factor": 2}  # load weights here


@app.handler("/", batch=Batch(max_size=8), warmup={"x": 1})
def double(context, requests):
    return [{"y": request.json["x"] * context["factor"]} for request in requests]
'''
"""What the app is that is written where the policy names one that is missing."""


def filled(
    name: str, answers: dict[str, str], *, listen: str, spend: float, hourly: float, today: str
) -> str:
    """The policy's YAML."""
    template = TEMPLATES[name]
    backends = template.backends.format(**answers)
    names = [line.split(":")[0].strip() for line in backends.splitlines() if line[2] != " "]
    own = "price: this-machine" in backends
    return _POLICY.format(
        about=template.about,
        listen=listen,
        backends=backends,
        model=answers["model"],
        kind=template.kind,
        order=", ".join(names),
        prices=_OWN_PRICE.format(hourly=f"{hourly:g}", today=today) if own else "",
        spend=f"{spend:g}",
        cap=f"{spend * 20:g}",
    )
