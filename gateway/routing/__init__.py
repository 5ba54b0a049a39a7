"""Which backend a call goes to: pure decisions over snapshots.

``router`` filters, quotes and ranks the backends. What it reads was learned from earlier calls:
``forecast`` (run times and cold starts), ``health`` (who is to blame, and rests), ``gaps`` (how
long a backend stays warm between calls), ``volume`` (calls a day).
"""
