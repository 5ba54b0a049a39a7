"""What is run by hand or by the Makefile, and is no part of the product.

``serve`` is ``make serve``: the gateway and its spare backend, started and ended together.
``house`` measures the tree; ``command_page`` writes the reference of the command line. The shell
scripts make the environment: ``install`` fills ``.venv`` with the Python that ``find-python``
finds, ``constraints`` pins versions anew, ``system-packages`` installs the programs that tests and
benchmarks need.
"""
