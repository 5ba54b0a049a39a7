"""``kind: openai``: scripted servers, engines by their answers, and llama.cpp itself.

``llamacpp_server`` is llama.cpp over ``tiny_llama``, a model of random weights; ``engine_servers``
answer as each inference engine does.
"""
