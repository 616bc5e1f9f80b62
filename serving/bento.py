"""The service as BentoML finds it: ``bentoml build`` packs it, ``bentoml serve`` runs it, around the same desk.

The workspace is TOUCHSTONE_WORKSPACE, by default the folder one stands in. `touchstone serve` is the safer way to run
it: behind the guard, on one port. The container that is built from this runs that.
"""

from __future__ import annotations

import os
from pathlib import Path

from features.settings import read_settings
from serving.desk import Desk
from serving.service import now, service


def _desk() -> Desk:
    workspace = Path(os.environ.get("TOUCHSTONE_WORKSPACE", "."))
    desk = Desk(workspace, read_settings(workspace), now)
    desk.intake.start()
    return desk


touchstone = service(_desk)
