"""Who comes in to the console, and stays.

``cookies`` are what a browser brings, and where it is led; ``sessions`` keeps who has signed in;
``with_key`` takes the key of the form. ``oidc`` is the way to an OpenID provider and back, which is
loaded where a policy names one: ``oidc_provider`` asks it, ``oidc_tokens`` believes what it signs.
"""
