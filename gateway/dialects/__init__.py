"""Calls in the words in which they came, to backends that know others.

``asking`` asks a backend for a call: in its own words where it knows them, else in those of a chat,
of which ``streams`` writes the answer anew. ``messages_asked`` and ``messages_answered`` are
Anthropic's /v1/messages, ``responses_asked`` and ``responses_answered`` OpenAI's /v1/responses;
``tool_pieces`` tells the calls of tools apart in a chat's stream; ``faults`` are errors in each
one's words. ``shown_names`` writes into an answer the name by which its caller called the model;
``output_bound`` writes a bound on the answer into a call without one.
"""
