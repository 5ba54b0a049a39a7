"""Which backend a call goes to, and whether it spills: pure decisions over snapshots.

``router`` filters, quotes and ranks the backends, and keeps the reason of each refusal, of which
``codes`` has the words; a call spills where its first choice is not a reserved backend. ``needs``
is what a call wants of a backend beside its task. ``sums`` takes a quote apart. ``repeating`` is
whether a call that failed is asked again, and of whom. ``conversations`` is what backends have kept
of what was said, and what it costs to read it elsewhere. ``caller_regions`` says where a caller is,
and ``regions`` puts what runs there first. What they read was learned from earlier
calls: ``forecast`` (run times and cold starts), ``answer_times`` (when a backend is silent rather
than slow), ``health`` (who failed, and rests), ``gaps`` (how long a backend stays warm between
calls), ``volume`` (calls a day).
"""
