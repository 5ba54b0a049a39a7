"""The console's pages, one file each.

``now`` is the first, ``spend`` who or what the money went to, with what is asked of it in
``spend_view`` and its plot in ``spend_plot``; ``backends`` what runs behind,
``calls`` those that fit, and ``call`` one of them; ``keys`` with their ``budgets``, ``policy``,
``jobs``, ``incidents``; ``bill``, what platforms bill beside the ledger.
"""
