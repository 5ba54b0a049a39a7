"""The toolkit of adapters for platforms behind HTTP, and its face for packages of third parties.

From the socket up, and in this order to be read: ``connection`` is one HTTP/1.1 connection,
``client`` a pool of them to one host, ``failures`` what a refusal means, ``backend`` what the
adapters of one address have in common. Streams: ``sse`` and ``named_events`` cut bytes into
events, ``chunks`` makes a stream of chunks of them, ``passthrough`` passes a server's own bytes
on. Shapes of calls: ``openai_calls`` for servers that speak OpenAI's protocol, ``predictions`` for
Cog's and Replicate's, ``outputs`` for envelopes around a model's JSON.
"""

from adapters.http.backend import HttpBackend
from adapters.http.chunks import ChunkStream
from adapters.http.client import Client, Origin, render_head
from adapters.http.connection import Body, Response
from adapters.http.failures import refused, refused_stream
from adapters.http.outputs import check_size, input_of
from adapters.http.sse import last_boundary

__all__ = [
    "Body",
    "ChunkStream",
    "Client",
    "HttpBackend",
    "Origin",
    "Response",
    "check_size",
    "input_of",
    "last_boundary",
    "refused",
    "refused_stream",
    "render_head",
]
