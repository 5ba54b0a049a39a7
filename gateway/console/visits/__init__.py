"""One request to the console as its pages see it, and what they ask and do for it.

``visit`` is the request, and what a page gives; ``spans`` the time that it looks at. ``asking`` is
what pages ask the ledger, ``billed`` the bills that are kept, ``standings`` how backends stand;
``sheets`` are tables as CSV, and
``shown_tables`` those that a page shows; ``replayed`` what another
policy would have cost; ``acts`` change something and leave it in the audit log.
"""
