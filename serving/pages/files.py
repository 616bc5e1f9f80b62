"""Files: stylesheet, picture and htmx, which the service sends as they are. ``SHA256SUMS`` beside them vouches."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

ASSETS = Path(__file__).parent / "assets"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
KEPT = "public, max-age=3600"
SENT = {file.name: file.read_bytes() for file in ASSETS.iterdir() if file.suffix in TYPES}


async def asset(request: Request) -> Response:
    """Return a file; nothing but those beside this module can be asked for."""
    name = request.path_params["name"]
    if name not in SENT:
        return PlainTextResponse("There is no such file.", HTTPStatus.NOT_FOUND)
    heads = {"cache-control": KEPT, "x-content-type-options": "nosniff"}
    return Response(SENT[name], 200, heads, TYPES[Path(name).suffix])
