"""The caller's side, in the gateway or in the app's own server: finds workers and calls them.

``workers`` picks a worker for a call, and knows by ``worker_states`` who starts and who is dead;
``connection`` is the socket of one, which fails its calls when the worker dies; ``facts`` is what
the worker last said of itself, ``pending_call`` a call that it has not answered; ``promises`` is
what the caller of a background handler is told at once. ``discovery`` is
the port to who knows which workers there are: ``managed`` (a supervisor below us, run by
``supervisor_process``, with what ``worker_environment`` hands on) or ``attached`` (the sockets in a
folder that others fill, by the rules of ``socket_folder``). ``autoscaler`` asks for more or fewer
workers, as ``scaling`` decides.
``residency`` says how long a call would wait for its model, ``start_times`` how long a start
takes.
"""
