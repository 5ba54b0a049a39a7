"""Several models that share one worker's memory.

``cache`` plans which are in and which go, and is pure; ``admission`` decides which call has its
model and which waits (``no_models`` is that for an app without any); ``loader`` loads and drops
them, in a thread beside the model's.
"""
