"""What every table of touchstone.toml is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)
