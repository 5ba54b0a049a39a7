"""The supervisor of workers on a Ray cluster, over processes that are only pretended."""
