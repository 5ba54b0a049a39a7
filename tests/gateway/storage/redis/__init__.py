"""The Redis store on a real server that is slow, gone, emptied, or used by others."""
