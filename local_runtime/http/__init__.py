"""HTTP/1.1 for a server: the app's own and the gateway's.

``server`` is what both have in common, ``lifespan`` how its app begins and ends, ``server_state``
what its connections share. ``protocol`` is one connection, ``heads`` what it is sent,
``request_cycle`` a request and its answer, ``lingering`` its end while its client still sends;
``head`` and ``flow_control`` are parts of them, ``upgrades`` is how such a connection is given to
another protocol, ``cut_answers`` what tells an answer that is cut from one that ends with its
connection.
``errors`` is the one shape of a refusal, ``unreadable`` are those of requests that cannot be read,
``content_codings`` what reads a compressed body.
``client_limits`` are the bounds of every wait on a client: ``client_timer`` keeps a connection
within them, and ``strangers`` are those whose clients have shown no key; ``accepting`` takes
them while there is room.
"""
