"""An app packed for another platform (``packed``), and run by that platform's own software."""
