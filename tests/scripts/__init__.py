"""The scripts: what ``make serve`` starts lives and dies together; ``house/`` is how the tree is
measured.
"""
