"""What is known about a lead, and when: contract, lake, history, catalogue."""

import os

# The matrices of this project are small. A second thread of BLAS waits in a loop for longer than it works, and where
# others want that core, too, both wait: credit by ``score_adjusted`` took four to eight times the CPU seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it once, when it is imported: later
