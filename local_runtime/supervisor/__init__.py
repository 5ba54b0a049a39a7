"""The supervisor's process: starts workers, and restarts those that die or hang.

``process`` is the program; ``options`` and ``orders``, what it is started with and asked for, are
``ray``'s too. ``lifecycle`` decides what becomes of a worker that starts, dies, hangs or is handed
over to a spare: whether it is started again, and after how long; it is pure. ``monitor`` is the
loop for one worker that does it; ``worker_process`` is the process and its pipes, ``logs`` what it
prints. ``placement`` says which devices a worker sees, ``spares`` which processes stand ready to
take over, ``elastic`` which workers come and go as they are asked to.
"""
