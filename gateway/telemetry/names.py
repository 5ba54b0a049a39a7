"""What attributes and metrics are called.

Those that begin with ``gen_ai`` are OpenTelemetry's conventions for generative AI, ``http`` and
``url`` and ``error`` its general ones; ours begin with ``spillgate``. Source:
https://opentelemetry.io/docs/specs/semconv/gen-ai/ and .../attributes-registry/
"""

from __future__ import annotations

METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"
PATH = "url.path"
ERROR = "error.type"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
STREAM = "gen_ai.request.stream"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - what kind of tokens are counted

REQUEST_ID = "spillgate.request_id"
USER = "enduser.id"
KEY = "spillgate.key_id"
BACKEND = "spillgate.backend"
REASON = "spillgate.reason"
POLICY_ROUTE = "spillgate.route"
POLICY = "spillgate.policy"
OUTCOME = "spillgate.outcome"
COST = "spillgate.cost_usd"
COLD = "spillgate.cold_s"
CANDIDATES = "spillgate.candidates"
NOT_ASKED = "spillgate.not_asked"
WORKER = "spillgate.worker"

REQUEST_SECONDS = "gen_ai.server.request.duration"
FIRST_TOKEN_SECONDS = "gen_ai.server.time_to_first_token"  # noqa: S105 - a metric
TOKENS = "gen_ai.client.token.usage"

_OPERATIONS = {"completions": "text_completion", "infer": "generate_content"}
OURS = "spillgate"
"""The provider that callers see; of an attempt it is the backend's kind."""


def operation_of(task: str) -> str:
    """The operation of a model's task: the conventions' own name where they have one."""
    return _OPERATIONS.get(task, task)
