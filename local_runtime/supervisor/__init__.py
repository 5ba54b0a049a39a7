"""The supervisor's process: starts workers, and restarts those that die or hang.

``process`` is the program. ``lifecycle`` is what becomes of one worker, pure; ``monitor`` is the
loop for one; ``worker_process`` is the process and its pipes, ``logs`` what it prints.
``placement`` says which devices a worker sees, ``spares`` which processes stand ready to take
over.
"""
