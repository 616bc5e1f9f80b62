"""How a score is learned and judged: snapshots, labels, model, calibration, backtest, registry."""

import os

# Before any library is imported: nothing is reported to anyone, and no git command is run.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
