"""Memory of long work: what is freed is kept, and pages are small."""

from __future__ import annotations

import os
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


def test_a_command_settles_the_threads_of_blas_before_numpy_is_imported() -> None:
    asked = "import os, sys, touchstone; print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    alone = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for own, settled in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "4"}, "4")):
        said = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=alone | own
        )
        assert said.stdout.split() == ["False", settled]


def test_a_command_settles_its_memory_before_numpy_and_arrow_do() -> None:
    said = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "system"]
