"""Capacity that is rented by the hour: started and stopped by hooks, as a plan advises.

``rented`` is one instance; ``advised`` is how many calls at once a plan would reserve for,
``wanted`` how many instances there should be then and which is to be stopped now, both pure;
``hooks`` calls a URL or runs a program, ``printed`` is what that prints, and ``asked_hooks`` asks
them by the policy in force; ``leases`` says which instances are this gateway's to look after,
``earlier_file`` reads what versions of once wrote, ``writing`` writes down what is so, and
``places`` says whether there is room for one more; ``strays`` stops what was lost while it was
being started; ``keeper`` is the loop that does it.
"""
