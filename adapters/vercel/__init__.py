"""Vercel's AI Gateway: many providers' models behind OpenAI's protocol.

``backend`` runs the calls, ``cost`` finds what a call cost, ``bill`` what the account is billed.
"""

from adapters.vercel.backend import Vercel

__all__ = ["Vercel"]
