"""The figures of the tree, measured from the code's own text: ``python -m scripts.house``.

To be read in this order: ``source`` parses the modules of a checkout and runs none of them;
``graph`` knows arrows, circles and storeys, and nothing of Python; ``imports`` draws the arrows of
the tree; ``names`` finds public names, their docstrings and names that are used twice; ``figures``
puts the figures of a package together; ``table`` shows them.
"""
