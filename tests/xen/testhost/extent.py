"""How much of the suite is run: all of it, or with QUICK=1 the form for every day.

The short form leaves out repetition and what takes long: kinds of storage that share their code
with another one, most of the restarts, kills under work on disks, many guests at once.
"""

from __future__ import annotations

import os

QUICK = bool(os.environ.get("QUICK"))
