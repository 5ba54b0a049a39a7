"""Who is told of what happened, by webhooks: from the outbox in the ledger's store to a receiver.

``notices`` puts together what runs beside the calls: ``sender`` takes what is due, signs it with
``signatures`` and gives it to a ``client``, as ``attempts`` says, which dials what ``addresses``
allows; ``pauses`` is how long a failure waits. ``keeping`` looks after what waits for long.
``budgets`` finds limits that were reached, ``key_endings`` keys that end soon. ``bodies`` is what
all of them say, ``requests`` what one may ask about all this.
"""
