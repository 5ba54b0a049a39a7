"""What calls cost, who may spend it, and what was spent.

``tariffs`` says which of a backend's prices holds at an instant. ``pricing`` computes a call's
price: usage in, integer nano-dollars out, its tokens in the parts of ``token_split``;
``charge_records`` is what a row keeps of that, and each part of its charge again. ``estimates`` is
what was probably used where no backend says it, and ``inputs`` what a request holds whose tokens
its bytes do not show. ``scopes`` are where limits lie, ``limits`` makes them into claims on the
shared store, ``limit_refusals`` says what is told where one has no room, ``counted`` how much a
charged call counts for, in which counters; ``room`` asks them of a call that is not made.
``settling/`` settles ended calls in both stores; ``spending`` is whose figures that has changed,
for who watches them. ``committed`` is the bill of capacity that is paid for by the hour, and
``idle_books`` books what no call used of it. ``forecasts`` is where spend leads, by
``spend_forecast``. ``usage_reports`` is who spent what, ``focus`` the same for tools that read
bills, ``call_lists`` in which calls, ``call_streams`` in all of them, ``call_reports`` what became
of one call; ``price_comparison`` holds prices against other prices. ``text`` is how amounts and
instants are written.
"""
