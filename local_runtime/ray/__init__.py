"""The supervisor's process where Ray places the workers.

``process`` is the program, ``cluster`` the workers as actors, ``host`` what runs inside one, with
a worker's process below it.
"""
