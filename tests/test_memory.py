"""Memory of long work: what is freed is kept, and pages are small."""

from __future__ import annotations

import subprocess
import sys

ASKED = """
import sys, touchstone
assert not {"numpy", "pyarrow"} & {*sys.modules}
from features.memory import keep_freed_memory
keep_freed_memory()
import numpy, pyarrow
print(numpy._core.multiarray._get_madvise_hugepage(), pyarrow.default_memory_pool().backend_name)
"""


def test_a_command_settles_its_memory_before_numpy_and_arrow_do() -> None:
    said = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "system"]
