"""A second policy beside the one in force: it decides too, in its shadow, or for some users.

``trial`` is the policy in force while another one is tried, ``comparison`` what sets their
decisions apart.
"""
