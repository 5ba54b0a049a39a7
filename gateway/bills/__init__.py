"""What platforms bill beside what the ledger has, by the day, and what makes the difference.

``periods`` cuts the time that is compared into days; ``causes`` takes a day's difference apart;
``comparison`` is a backend's bill beside the ledger, ``texts`` how it is shown. ``bill_files``
reads a bill that a person has as CSV. ``corrections`` makes rows of what is to be booked and
``booking`` books them, ``reconciler`` asks bills and ledger, and ``watch`` does so every day, while
the gateway runs.
``kept_bills`` are those that were told last, for whoever looks.
"""
