"""The frameworks that programs call models by, each unchanged, against a whole gateway: LangChain
and LlamaIndex in environments of their own, Vercel's AI SDK on Node. ``python -m tests.frameworks``
installs and runs them; they are too large for the suite.

``model`` is the model behind the gateway, which answers as its last message says; ``environments``
are where the frameworks are; ``programs`` what they ask. ``test_model`` is the same without any.
"""
