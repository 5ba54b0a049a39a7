"""The command line: each command, its help, its exit status, the log of a gateway in trouble.

``gateways`` is a stand-in for one that is asked to explain.
"""
