"""What the commands share that replay recorded traffic: ``options`` tell them of a recording, of
prices and of a policy's model, and ``progress`` tells how far a long one has come."""
