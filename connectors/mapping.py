"""Mappings: how what a system says becomes rows of our tables, in one file of TOML for each system.

It says under [read] which fields are asked for, and in [[sources]] blocks, as touchstone.toml has them, what becomes of
the lines that a connector lands. A workspace overrides it by a file of its own, named in connectors.<system>.mapping.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features.errors import ConfigError
from features.settings import Settings, Source
from features.settings.section import problems

OURS = Path(__file__).parent / "mappings"
SYSTEMS = ("hubspot", "salesforce", "marketo", "mailchimp")


@dataclass(frozen=True)
class Mapping:
    """What is read of a system, and what becomes of it."""

    read: dict[str, Any]
    sources: list[Source]


def mapping_of(system: str, settings: Settings, workspace: Path) -> Mapping:
    """Return the mapping of a system: the workspace's own, or ours.

    Raises:
        ConfigError: when the file is missing or is no mapping.

    """
    own = getattr(settings.connectors, system).mapping
    file = OURS / f"{system}.toml" if own is None else workspace / own
    try:
        read, ours = (tomllib.loads(one.read_text("utf-8")) for one in (file, OURS / f"{system}.toml"))
        found = Mapping(dict(read["read"]), [Source.model_validate(block) for block in read["sources"]])
    except OSError as error:
        raise ConfigError(
            f"The mapping {file} cannot be read: {error.strerror}. Name a file that is there, or none, in "
            f"connectors.{system}.mapping."
        ) from None
    except KeyError as error:
        raise ConfigError(f"The mapping {file} has no {error}. Begin with a copy of {OURS / system}.toml.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The mapping {file} cannot be used: {error}. Mend it.") from None
    except ValidationError as error:
        raise ConfigError(f"The mapping {file} cannot be used: {problems(error)}. Mend it.") from None
    if lacking := sorted({*ours["read"]} - {*found.read}):
        raise ConfigError(
            f"The mapping {file} has no {', '.join(lacking)} under [read]. Take it from {OURS / system}.toml; a stream "
            f"that is not to be read is named in connectors.{system}.leave_out."
        )
    return found


def mapped(settings: Settings, workspace: Path) -> Settings:
    """Return settings that know how to read what every connector lands, too; their own sources are asked first."""
    landed = [source for system in SYSTEMS for source in mapping_of(system, settings, workspace).sources]
    return settings.model_copy(update={"sources": [*settings.sources, *landed]})
