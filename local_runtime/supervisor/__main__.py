"""``python -m local_runtime.supervisor`` is a supervisor: see ``process``."""

from __future__ import annotations

import sys

from local_runtime.supervisor.process import main

sys.exit(main())
