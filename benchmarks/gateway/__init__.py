"""Spillgate beside a bare nginx, sglang-router and LiteLLM: ``python -m benchmarks.gateway``."""
