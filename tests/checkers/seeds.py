"""How many random histories each property is tried on.

A push tries some; `CHECKERS_SEEDS=20000 pytest tests/checkers` is the long run.
"""

from __future__ import annotations

import os

SEEDS = int(os.environ.get("CHECKERS_SEEDS", "2000"))
