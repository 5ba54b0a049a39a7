"""Any server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, a provider.

``backend`` runs the calls, ``plain_calls`` those of images, sound, ranks and scores, of which
``media`` says whether it is one and ``sound`` how long; ``realtime`` holds sessions over a
WebSocket, of which ``realtime_usage`` counts what they use; ``providers`` are those who host
others' models;
``engine_probe`` asks which inference engine stands behind one and
how busy it is, ``engines`` reads the answers that each engine gives to that.
"""

from adapters.openai.backend import OpenAICompatible

__all__ = ["OpenAICompatible"]
