"""OpenAI's realtime protocol as the gateway and its backends both read it: ``caller_events`` is
what a caller says."""
