"""The console, over a whole gateway in one process and without a browser."""
