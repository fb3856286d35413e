"""How much of the suite is run: all of it, or with QUICK=1 the form for every day.

The short form leaves out nothing that is tested but repetition: kinds of storage that share their
code with another one, restarts and kills of which a few are enough to see that they work.
"""

from __future__ import annotations

import os

QUICK = bool(os.environ.get("QUICK"))
