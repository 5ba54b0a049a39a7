"""Banana's calls, as its own client makes them: ``endpoints`` are the paths of a project, ``told``
is what it is told of errors.

Source: https://github.com/bananaml/banana-python-sdk
"""
