"""What Spillgate costs, measured beside what else one could put there. Each is a command.

``gateway/`` (``make bench``) stands beside nginx, routers and other gateways; ``runtime/``
(``make bench-runtime``) beside LitServe, BentoML and Ray Serve; ``gpu/`` (``make bench-gpu``) is
torch under the runtime; ``adapters`` (``make bench-adapters``) what each kind adds to the bare
exchange with the ``platforms``; ``money`` (``make bench-money``) what limits and rows cost;
``jobs`` (``make bench-jobs``) how many jobs a second gateways end, and by ``server_work`` what
their database does for one;
``reports/`` (``make bench-reports``) how long reports of ten million rows take;
``economics/`` (``make bench-economics``) what planned capacity costs over recorded traffic;
``console/`` (``python -m benchmarks.console``) a made-up month to look at in the console.
Smaller: ``ledger`` (a row), ``lost_store`` (a Redis that is stopped), ``restart`` (a killed
worker), ``workers`` (several processes on one port), ``profile_gateway`` (where CPU goes),
``guard`` (whether a call has grown). Their options and
results are ``command``; a contender while it runs is an ``entry``. ``apps/`` are served by several.
What they found: docs/performance.md.
"""
