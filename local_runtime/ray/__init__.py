"""The supervisor's process where a Ray cluster places the workers, on other machines too.

``process`` is the program, ``cluster`` the workers as actors, ``host`` what runs inside an actor:
one worker's process below it. What becomes of a worker is decided by the same ``lifecycle`` and
``monitor`` as on one machine.
"""
