"""Memory of long work that goes part by part: what one part frees, the next one takes.

By default glibc and Arrow hand large blocks back to the system at once, and take them again page by page. Over a lake
of 20 million touches that costs as much as a third of all features. And numpy asks for huge pages: on a virtual machine
that gives free memory back to its host, those are the ones that the host has to find again. Here .9 GB cost 1.0 to 2.6
CPU seconds in huge pages, .4 in small ones.
"""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # malloc.h
LARGEST = 32 << 20  # bytes of a block that is kept; glibc takes no larger value


def keep_freed_memory() -> None:
    """Keep freed memory in this process, for all its threads, and take small pages; without glibc, only the latter.

    To be called before anything starts a thread, when glibc settles how many heaps there are, and before numpy and
    Arrow are imported.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((MMAP_THRESHOLD, LARGEST), (TRIM_THRESHOLD, 2**31 - 1), (ARENA_MAX, 1)):
            libc.mallopt(parameter, value)
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
