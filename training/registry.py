"""The registry: which models there are, and which one serves.

What serves is one pointer, exchanged by atomic rename: whoever reads it sees the old state or the new one, whenever
the process that promotes is killed. Before a model is pointed at it is loaded in a process of its own, since a model
file that kills its reader must kill nobody else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.errors import ModelError
from serving.scorer import CARD, MANIFEST, promote, promoted, roll_back

TRIAL_SECONDS = 120
TRIAL = "import sys, pathlib; from serving.scorer import load; load(pathlib.Path(sys.argv[1]))"


def listed(models: Path) -> list[dict[str, Any]]:
    """Return every saved version, the latest first: what its card says of it, and whether it serves."""
    serves = promoted(models)[:1]
    found = [_line(file.parent, serves) for file in models.glob(f"*/{MANIFEST}")]
    return sorted(found, key=lambda line: (line["as_of"] or "", line["version"]), reverse=True)


def folders(models: Path, versions: Sequence[str]) -> list[Path]:
    """Return the folder of each version.

    Raises:
        ModelError: when there is no model of one of them; it names those that there are.

    """
    known = [line["version"] for line in listed(models)]
    if unknown := [version for version in dict.fromkeys(versions) if version not in known]:
        raise ModelError(
            f"There is no model {' and no model '.join(unknown)} in {models}. "
            f"Known versions: {', '.join(known) or 'none yet'}."
        )
    return [models / version for version in versions]


def serve(models: Path, version: str) -> str:
    """Make a version the champion, after a trial.

    Raises:
        ModelError: when there is no such version, or it cannot be loaded; the champion stays.

    """
    (folder,) = folders(models, [version])
    trial(folder)
    promote(models, version)
    return version


def serve_again(models: Path) -> str:
    """Make the version that served before the champion again, after a trial, and return it."""
    for version in promoted(models)[1:2]:
        trial(models / version)
    return roll_back(models)


def marked(workspace: Path, version: str) -> str:
    """Give a champion its alias in MLflow; return a sentence if that cannot be done, which changes nothing."""
    from training.tracking import UnrecordedError, point

    try:
        point(workspace, version)
    except UnrecordedError as error:
        return str(error)
    return ""


def trial(folder: Path) -> None:
    """Load a model in a process of its own.

    Raises:
        ModelError: when it cannot be loaded, kills the process, or hangs it.

    """
    root = str(Path(__file__).parents[1])
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter, our own words
            [sys.executable, "-P", "-c", TRIAL, str(folder.resolve())],
            cwd=root, capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ModelError(f"The model in {folder} hangs when it is loaded. It does not serve. Train again.") from None
    if done.returncode < 0:
        raise ModelError(f"The model in {folder} kills the process that loads it. It does not serve. Train again.")
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].partition(": ")[2]
        raise ModelError(said or f"The model in {folder} cannot be loaded. It does not serve. Train again.")


def _line(folder: Path, serves: list[str]) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):  # a model without its card is still a model
        card = {}
    figures = card.get("metrics", {})
    return {
        "version": folder.name,
        "champion": [folder.name] == serves,
        "as_of": card.get("as_of"),
        "evidence": card.get("evidence"),
        "why": card.get("why"),
        **{name: figures.get(name) for name in ("n", "roc_auc", "log_loss", "ece")},
    }
