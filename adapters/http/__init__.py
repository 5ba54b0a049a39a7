"""The toolkit of adapters for platforms behind HTTP, and its face for packages of third parties.

From the socket up, and in this order to be read: ``response`` is what comes back, ``encodings``
undoes its compression, ``connection`` is one HTTP/1.1 connection, ``client`` a pool of them to one
host, ``failures`` what a refusal means, ``asked_waits`` how long it lasts, ``endpoint_words``
whether it speaks of the endpoint and not of the call,
``answers`` whether a success is one, ``stated_usage`` what
it says it used, ``token_counts`` what a text is likely to be, ``plain_answers`` both of what most
servers answer, ``api`` the requests to one origin, ``backend`` what the adapters of one address
have in common. Streams: ``sse`` reads the events of OpenAI's protocol, with as many choices as
``asked_choices`` counts, ``plain_events`` most of them at a glance, ``typed_events`` those of
Anthropic's messages and OpenAI's responses, ``named_events`` those of platforms whose events have
names; ``opened`` says what a body is by its first bytes, ``chunks`` makes a stream of chunks of
events, ``passthrough`` passes a server's own bytes on. Shapes of calls: ``openai_calls`` for
servers that speak OpenAI's protocol, ``predictions`` for Cog's and Replicate's, ``outputs`` for
envelopes around a model's JSON.
"""

from adapters.http.api import EVENTS, Api, bearer
from adapters.http.backend import HttpBackend
from adapters.http.chunks import ChunkStream, once
from adapters.http.client import Client, Origin, render_head
from adapters.http.failures import clean, refused
from adapters.http.openai_calls import OpenAICalls
from adapters.http.outputs import answer_of, check_size, event_of, input_of
from adapters.http.passthrough import Passthrough, stream_of
from adapters.http.response import Body, Response
from adapters.shapes.json_texts import read, read_if, read_input
from adapters.whole_events import last_boundary, split_events

__all__ = [
    "EVENTS",
    "Api",
    "Body",
    "ChunkStream",
    "Client",
    "HttpBackend",
    "OpenAICalls",
    "Origin",
    "Passthrough",
    "Response",
    "answer_of",
    "bearer",
    "check_size",
    "clean",
    "event_of",
    "input_of",
    "last_boundary",
    "once",
    "read",
    "read_if",
    "read_input",
    "refused",
    "render_head",
    "split_events",
    "stream_of",
]
