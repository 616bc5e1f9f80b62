"""[serve]: the service and its limits."""

from __future__ import annotations

from pydantic import Field

from features.settings.section import Section


class Serve(Section):
    """The service. It listens on loopback."""

    port: int = Field(3000, description="port on 127.0.0.1; 0 takes a free one", ge=0, le=65535)
    connections: int = Field(
        800, description="so many may be open at once; each takes one of the process's files", gt=0
    )
    head_kilobytes: float = Field(64, description="largest head of a request that is read", gt=0)
    body_megabytes: float = Field(8, description="largest body of a request that is read", gt=0)
    body_seconds: float = Field(10, description="the head of a request, and then its body, take at most so long", gt=0)
    waiting: int = Field(32, description="requests that are worked on or wait for it; more are refused", gt=0)
    requests_a_second: float = Field(500, description="of one token, on average; at once, as many", gt=0)
