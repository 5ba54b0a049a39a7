"""Conversations over a WebSocket, as OpenAI's realtime protocol has them: ``/v1/realtime``.

``endpoint`` reads a request for one, and ``opening`` admits it like any other call, before its
client is answered; ``client_socket`` is the client's end of it, ``relay`` passes the messages both
ways and says how it ended, and ``ahead`` holds what the next response may cost before it can begin:
``said`` is what it may read, ``asked`` how many were asked for, and ``caller_messages`` and
``backend_events`` read what both sides say; ``key_in_force`` ends it with its key.
Loaded with the first session.
"""
