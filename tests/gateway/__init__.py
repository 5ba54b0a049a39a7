"""The gateway in one process: ``assembled`` puts it together from real embedded stores, fake
backends and a fake clock; ``failing_stores`` fail when they are told to.

A folder for each of its folders; the modules at its top are tested here.
"""
