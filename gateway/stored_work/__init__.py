"""What callers store, and what is run of it: files, batches and schedules of one gateway.

``serving`` puts them together, over the stores that they are given; ``scheduled_inputs`` reads what
the job of a schedule asks.
"""
