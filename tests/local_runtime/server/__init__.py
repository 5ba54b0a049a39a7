"""An app's own HTTP server as a user runs it: a process (``live_runtime``), and HTTP."""
