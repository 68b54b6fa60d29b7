"""Imported by a search's process (as modules with operators are): its second trial crashes, its third hangs; then all is well.

``TROUBLE`` names a file that counts the trials of all processes.
"""

from __future__ import annotations

import os
import time

from oarlock import compat_search

_ratio = compat_search.Kernel.ratio


def ratio(self: compat_search.Kernel, other: compat_search.Kernel, turns: int) -> float:
    with open(os.environ["TROUBLE"], "a+", encoding="utf-8") as log:
        log.write(".")
        log.flush()
        trial = log.tell()
    if trial == 2:
        os.abort()
    if trial == 3:
        time.sleep(1000)
    return 1.0 + trial + 0 * _ratio(self, other, 1)


compat_search.Kernel.ratio = ratio
