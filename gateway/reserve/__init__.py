"""Capacity that is rented by the hour: started and stopped by hooks, as a plan advises.

``rented`` is one instance; ``advised`` is how many calls at once a plan would reserve for,
``wanted`` how many instances there should be then and which is to be stopped now, both pure;
``hooks`` calls a URL or runs a program, and ``printed`` is what that prints; ``leases`` says which
instances are this gateway's to look after, ``earlier_file`` reads what versions of once wrote, and
``writing`` writes down what is so; ``keeper`` is the loop that does it.
"""
