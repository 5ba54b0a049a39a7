"""The caller's side: finds workers, connects to them, sends them calls.

``workers`` picks a worker for a call, ``connection`` is the socket of one. ``discovery`` is the
port to who knows which workers there are: ``managed`` (a supervisor of our own, run by
``supervisor_process``) or ``attached`` (the sockets in a folder that others fill,
``socket_folder``). ``autoscaler`` asks for more or fewer, as ``scaling`` decides. ``residency``
says how long a call would wait for its model, ``start_times`` how long a start takes.
"""
