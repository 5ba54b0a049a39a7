"""How one backend is: ``probe`` asks it, by the questions of ``probe_report`` and the prices of
``price_check``."""
