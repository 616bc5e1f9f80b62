"""What every table of touchstone.toml is."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

WORDS = {"extra_forbidden": "there is no such setting", "missing": "it is missing"}  # in place of pydantic's


class Section(BaseModel):
    """A table of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def problems(error: ValidationError) -> str:
    """Return everything that is wrong with some settings: where, what came, and what was expected."""
    return "; ".join(_problem(one["loc"], one["type"], one["msg"], one["input"]) for one in error.errors())


def _problem(location: tuple[int | str, ...], kind: str, said: str, came: Any) -> str:
    place = ".".join(str(part) for part in location if "[" not in str(part))  # pydantic names its validators, too
    if kind in WORDS:
        return f"{place}: {WORDS[kind]}"
    shown = "" if isinstance(came, dict) else f" is {json.dumps(came, ensure_ascii=False, default=str)}"
    return f"{place}{shown}: {said.removeprefix('Value error, ')}"
