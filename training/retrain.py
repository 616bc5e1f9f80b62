"""Retraining: a new model when one is due, promoted only through the gate.

There is no scheduler here: cron, systemd or whatever runs jobs gives the command as often as it likes, and the command
says whether there is anything to do. Two never train at once.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from features.contract import INGESTED
from features.errors import ModelError, NothingToDo
from features.goals import for_goal_of
from features.history import DAY, microseconds
from features.lake import Lake
from features.outcomes import outcomes_of
from features.reading import read_history
from features.settings import Settings
from features.verbs import columns_of
from serving.scorer import CARD, champion
from training.drift import drifted
from training.incumbent import learned_by
from training.monitor import monitored
from training.registry import listed
from training.tracking import sweep
from training.train import Trained, train

FEWEST_OUTCOMES = 20  # new wins, below which more outcomes are no reason
LOCK = ".retrain"


def retrain(
    lake: Lake,
    settings: Settings,
    workspace: Path,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
    *,
    force: bool = False,
) -> tuple[str, Trained]:
    """Train if it is due, and return why it was, and what training ended with.

    Raises:
        NothingToDo: when nothing is due, or another retraining runs.

    """
    with _alone(workspace):
        sweep(workspace)
        progress("Looking whether it is due")
        why = "It was asked for." if force else due(lake, settings, workspace, as_of)
        if why is None:
            raise NothingToDo(
                "No training is due: the model is young, its promises are kept, and leads are as they were when it "
                "learned."
            )
        return why, train(lake, settings, workspace, as_of, progress)


def due(lake: Lake, settings: Settings, workspace: Path, as_of: datetime) -> str | None:
    """Return why a model is to be trained, in a sentence; None if there is no reason.

    Raises:
        NothingToDo: when the gate has refused a model of the same rows and settings already.

    """
    models = workspace / "models"
    try:
        scorer = champion(models)
    except ModelError as error:
        return f"No model serves: {error}"
    if refused := _refused(models, lake, settings):
        raise NothingToDo(
            f"No training is due: nothing was ingested since {refused} was trained and refused. Ingest what is new, or "
            f"train all the same: {for_goal_of(workspace, 'touchstone retrain')} --force."
        )
    learned, now, watch = scorer.spec, microseconds(as_of), settings.monitor
    age = (now - learned.learned_until) / DAY
    if age >= watch.retrain_days:
        return f"The champion learned {age:.0f} days ago; {watch.retrain_days:g} are allowed."
    history = read_history(lake, more=columns_of(learned.features))
    won = outcomes_of(history, settings.goal, now).won_known
    new = int(np.count_nonzero((won >= learned.learned_until) & (won < now)))
    if new >= max(FEWEST_OUTCOMES, watch.retrain_outcomes * learned.outcomes):
        return f"{new} leads were won since the champion learned from {learned.outcomes}."
    alarms = {alarm["part"]: alarm["what"] for alarm in reversed(monitored(lake, settings, workspace, as_of)["alarms"])}
    if "drift" in alarms and drifted(scorer, history, settings, learned.learned_until)[0]:
        del alarms["drift"]  # the champion learned when leads were different already
    return alarms.get("promises") or alarms.get("drift")


def _refused(models: Path, lake: Lake, settings: Settings) -> str | None:
    """Return the latest model if the gate refused it, and it learned by these settings from all that the lake holds."""
    latest = listed(models)[0]
    try:
        card = json.loads((models / latest["version"] / CARD).read_bytes())
    except OSError:  # a model without its card is still a model
        return None
    versions = {name: version for name, version in lake.versions().items() if name in INGESTED}
    same = (card["lake"], card.get("settings")) == (versions, learned_by(settings))
    return latest["version"] if same and not card["promoted"] and not latest["champion"] else None


@contextmanager
def _alone(workspace: Path) -> Iterator[None]:
    """Hold the workspace's lock of retraining; the system frees it when the process ends, however it ends."""
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NothingToDo(f"A retraining of {workspace} is running already.") from None
        yield
