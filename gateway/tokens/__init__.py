"""Client tokens: what a key lends to a browser for some minutes, so that it need not see the key.

``asking`` reads what a token shall be and makes it, ``using`` says what a request with one may do,
``telling`` what it is told when it may not, and how one is listed; ``rate`` bounds how often one is
made or revoked.
"""
