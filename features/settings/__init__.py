"""touchstone.toml: every setting, its default and its meaning, parted by what it is about.

A setting may also come from the environment, which wins: ``TOUCHSTONE_GOAL__HORIZON_DAYS=60``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from features.errors import ConfigError
from features.settings.credit import Attribution, Experiment
from features.settings.history import ChannelRule, Channels, Expression, Ingest, Keeping, Source
from features.settings.loop import Exploration, Feedback, Monitor, Report
from features.settings.score import Features, Goal, Snapshots, Training
from features.settings.section import problems
from features.settings.service import Serve
from features.settings.systems import Connectors, HubSpot, Mailchimp, Marketo, Salesforce

__all__ = [
    "FILE", "Attribution", "ChannelRule", "Channels", "Experiment", "Exploration", "Expression", "Features",
    "Feedback", "Goal", "HubSpot", "Ingest", "Keeping", "Mailchimp", "Marketo", "Monitor", "Salesforce",
    "Serve", "Settings", "Snapshots", "Source", "Training", "read_settings",
]  # fmt: skip

FILE = "touchstone.toml"


class Settings(BaseSettings):
    """Everything that a workspace configures."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix="TOUCHSTONE_", env_nested_delimiter="__", frozen=True)

    ingest: Ingest = Ingest()  # type: ignore[call-arg]  # every field has a default
    sources: list[Source] = []
    channels: Channels = Channels()  # type: ignore[call-arg]
    lake: Keeping = Keeping()  # type: ignore[call-arg]
    goal: Goal = Goal()  # type: ignore[call-arg]
    goals: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$")], Goal] = {}
    features: Features = Features()  # type: ignore[call-arg]
    snapshots: Snapshots = Snapshots()  # type: ignore[call-arg]
    feedback: Feedback = Feedback()  # type: ignore[call-arg]
    training: Training = Training()  # type: ignore[call-arg]
    monitor: Monitor = Monitor()  # type: ignore[call-arg]
    report: Report = Report()  # type: ignore[call-arg]
    exploration: Exploration = Exploration()  # type: ignore[call-arg]
    attribution: Attribution = Attribution()  # type: ignore[call-arg]
    serve: Serve = Serve()  # type: ignore[call-arg]
    connectors: Connectors = Connectors()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings

    def for_goal(self, name: str) -> Settings:
        """Return the same settings with a further goal in the place of the main one.

        Raises:
            ConfigError: when there is no such goal.

        """
        if name not in self.goals:
            known = f"The goals are: {', '.join(self.goals)}." if self.goals else "There are none."
            raise ConfigError(f"There is no goal {name} under [goals] in {FILE}. {known}")
        return self.model_copy(update={"goal": self.goals[name].called(name)})


def read_settings(workspace: Path) -> Settings:
    """Return the settings of a workspace; without a file, the defaults.

    Raises:
        ConfigError: naming every setting that is wrong, at once.

    """
    path = workspace / FILE
    try:
        settings = Settings(**tomllib.loads(path.read_text("utf-8")) if path.exists() else {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend that line.") from None
    except SettingsError as error:
        raise ConfigError(f"The environment cannot be used: {error}. Write lists as in JSON.") from None
    except ValidationError as error:
        raise ConfigError(
            f"{path} cannot be used. {problems(error)}. `touchstone init` explains every setting."
        ) from None
    if settings.features.file is None:
        return settings
    file = {"file": workspace / settings.features.file}  # from where touchstone.toml is, not from where one stands
    return settings.model_copy(update={"features": settings.features.model_copy(update=file)})
