"""Hugging Face's own clients, asked from a process of their own; prints what they saw as JSON.

HF_PLATFORM=http://127.0.0.1:... HF_KEY=... python -m tests.adapters.huggingface.client
"""

from __future__ import annotations

import json
import os
from typing import Any

from huggingface_hub import HfApi, InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError


def main() -> None:
    url, key = os.environ["HF_PLATFORM"], os.environ["HF_KEY"]
    constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{url}/v2"
    seen: dict[str, Any] = {}
    client = InferenceClient(base_url=url, api_key=key)
    chat = client.chat_completion([{"role": "user", "content": "x"}], model="m")
    seen["chat"] = [chat.choices[0].message.content, chat.usage.completion_tokens]
    streamed = client.chat_completion([{"role": "user", "content": "x"}], model="m", stream=True)
    seen["chat stream"] = "".join(
        chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices
    )
    api = HfApi(token=key)
    seen["states"] = [api.get_inference_endpoint("minilm", namespace="acme").status]
    for verb in (api.pause_inference_endpoint, api.resume_inference_endpoint):
        seen["states"].append(verb("minilm", namespace="acme").status)
    updated = api.update_inference_endpoint("minilm", namespace="acme", min_replica=1)
    seen["min"] = updated.raw["compute"]["scaling"]["minReplica"]
    seen["zero"] = api.scale_to_zero_inference_endpoint("minilm", namespace="acme").status
    try:
        HfApi(token="wrong").get_inference_endpoint("minilm", namespace="acme")
    except HfHubHTTPError as error:
        seen["wrong key"] = error.response.status_code
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
