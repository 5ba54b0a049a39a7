"""An app packed for another platform, and run by that platform's own software. ``packed`` is one."""
