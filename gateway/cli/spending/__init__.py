"""Who spent what: ``usage``, with ``reconcile`` for the bills of the platforms beside it and
``forecast`` for where it leads,
again and again by ``watch``; ``prices`` lists prices and holds them against others."""
