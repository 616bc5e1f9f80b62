"""The no-op: BentoML services that do nothing, exported as an ASGI app and run as the service is.

One reads a small body; the other parses what ``/score`` is asked, with the same strict models.
"""

from __future__ import annotations

from pydantic import BaseModel

from serving.messages import ScoreRequest


class Asked(BaseModel):
    """A small request."""

    lead_ids: list[str] = []


class Done(BaseModel):
    """A small answer."""

    done: bool = True


def serve_noop(port: int) -> None:
    """Serve a BentoML service that does nothing, on a port."""
    import bentoml
    import uvicorn

    @bentoml.service(metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Noop:
        @bentoml.api(route="/noop")
        def noop(self, request: Asked, /) -> Done:
            return Done(done=bool(request))

        @bentoml.api(route="/parse")
        def parse(self, request: ScoreRequest, /) -> Done:
            return Done(done=bool(request))

    uvicorn.run(Noop.to_asgi(), port=port, log_level="error", access_log=False, loop="uvloop", http="httptools")
