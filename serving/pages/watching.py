"""Monitor: what was found when the promises, the leads and the sources were last looked at, and what to do."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from features.goals import room_of
from serving.monitoring import PARTS, latest
from serving.pages.site import Form, Site


def monitor(site: Site, request: Request, _form: Form) -> Response:
    """Show the page."""
    found = {name: latest(room_of(site.desk.workspace, name)) for name in ("", *site.desk.settings.goals)}
    shown = [
        {
            "goal": name or site.desk.settings.goal.won[0],
            "at": datetime.fromisoformat(one["as_of"]),
            "count": {part: sum(alarm["part"] == part for alarm in one["alarms"]) for part in PARTS},
            **one,
        }
        for name, one in found.items()
        if one
    ]
    return site.show(request, "monitor.html", shown=shown)
