"""``python -m local_runtime.ray`` is a supervisor of workers on a Ray cluster: see ``process``."""

from __future__ import annotations

import sys

from local_runtime.ray.process import main

sys.exit(main())
