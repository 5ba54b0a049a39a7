"""Several models that share one worker's memory, with no word of calls.

``cache`` plans which are in and which go for others, and is pure; ``loader`` loads and drops them,
in a thread beside the model's. Which call has its model and which waits is decided one storey up,
by ``model_admission``.
"""
