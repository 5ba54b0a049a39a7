"""``kind: huggingface``, before a small Inference Endpoints of the tests (``platform``).

``client`` asks the same platform with Hugging Face's own clients, so that it is what they expect.
"""
