"""What calls cost, who may spend it, and what was spent.

``pricing`` turns usage into money, ``limits`` a principal's limits into claims on the stores.
``settlement`` settles an ended call in both stores, once. ``usage_reports`` is who spent what,
``reconciliation`` holds a platform's bill against the ledger.
"""
