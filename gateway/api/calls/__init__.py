"""The surfaces for calls.

``openai`` and ``infer`` read the body of a call as far as the gateway acts on it, ``input_words``
what parts it has in other words than a chat's, ``resolved_parts`` those of one with its files in
it, ``counting`` how many tokens one would be; ``plain`` reads what is answered whole, such as
images and sound, and ``declared`` passes on what the policy alone knows; ``call_requests`` turns
the request into a call and notices a client that hangs up at whatever point, upon which
``gateway.calls`` ends and settles the call; ``explain`` is the decision without the call,
``models`` the list of what may be called, ``wrong_endpoint`` what is said where another path is
the model's.
"""
