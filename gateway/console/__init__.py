"""The console: pages for browsers at /dashboard, made on the server, of what the gateway knows.

``door`` is who comes in, and is all that a start loads; ``sessions`` keeps who has signed
in, ``cookies`` are what a browser brings, and where it is led.
Behind it, loaded with the first page: ``desk`` leads each path to its page and writes what that
gives, ``visits`` is one request as pages see it, ``signing_in`` takes a key. ``asking`` is what
pages ask the ledger, ``spans`` the time that they look at, ``standings`` how backends stand;
``figures`` writes numbers for people, ``words`` says what codes mean, ``plots`` and ``heat`` draw,
``sheets`` are tables as CSV, ``acts`` change something and leave it in the audit log. One file a
page: ``now``, ``spend``, ``backends``, ``calls``, and ``call`` for one of them, ``keys``,
``policy``, ``jobs``, ``incidents``. The templates lie in templates/, what browsers load in static/,
each vendored file with its licence beside it.
"""
