"""Responses that callers may go on from by ``previous_response_id``.

``conversation`` is what a request asks on and what its answer adds; ``keeping`` puts answers into
the store and finds them.
"""
