"""A policy by which each user has a dollar a month, and a token of output is a tenth of a cent."""

from __future__ import annotations

SPENDS_TOKENS = """
version: 1
server: {tls: "off", access_log: false}
backends:
  burst: {kind: fake, slots: null, price: tokens, max_run: 100s}
models:
  chat: {task: chat, backends: [burst], slo: 2s, max_output_tokens: 4000}
prices:
  tokens: {per_million_output: 1000, as_of: 2026-11-01, source: test}
plans:
  default: {concurrent: 100, spend: 1 USD/month}
"""
