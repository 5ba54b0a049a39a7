"""What every door does with a request: ``pages`` are paths with their methods, ``named`` says which
model a name means, ``asking`` makes a job of an input, and ``waiting`` waits for its end for as
long as its caller does.
"""
