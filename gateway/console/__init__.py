"""The console: pages for browsers at /dashboard, made on the server, of what the gateway knows.

``door`` is who comes in, and is all that a start loads, with ``sign_in/`` behind it. ``desk`` leads
each path to its page and writes what that gives; it is loaded with the first one, and with it
``pages/``, one file a page. They are made of ``visits/``, a request as pages see it and what they
ask and do for it, and of ``drawing/``, how that is shown. The templates lie in templates/, what
browsers load in static/, each vendored file with its licence beside it.
"""
