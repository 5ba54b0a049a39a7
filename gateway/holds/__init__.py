"""What is known of holds beside their amounts, and who waits for one.

``usual_costs`` is what calls turn out to cost of what was held for them, ``line`` the calls for
which there is no room until others end, ``full`` the limits of backends that have none, and
``patience`` how long a job waits for what others hold. None of them decides how much is held.
"""
