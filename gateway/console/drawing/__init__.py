"""How the console shows what it knows. Pure.

``figures`` writes numbers for people, ``words`` says what codes mean, ``prices`` what a backend
charges; ``plots`` and ``heat`` draw.
"""
