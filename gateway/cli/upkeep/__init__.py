"""What is done before and beside a gateway: ``init`` writes a first policy by ``templates``,
``doctor`` looks for what would keep a gateway from working, by its ``examinations``; ``backup``
and ``restore`` are of one ``archive``, by ``replacing`` what is there.
"""
