"""How the console shows what it knows. Pure.

``figures`` writes numbers for people, ``words`` says what codes mean, ``plots`` and ``heat`` draw.
"""
