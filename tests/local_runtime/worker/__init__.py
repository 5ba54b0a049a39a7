"""A worker without its process: schedule, batches, engine, steppers, results.

``bench`` is the socket's side with a fake runner and a fake clock; ``steppers`` shows every move
of one.
"""
