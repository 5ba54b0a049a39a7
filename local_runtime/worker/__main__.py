"""``python -m local_runtime.worker`` is a worker: see ``process``."""

from __future__ import annotations

import sys

from local_runtime.worker.process import main

sys.exit(main())
