"""The parent of several processes, and what it decides before any is started."""
