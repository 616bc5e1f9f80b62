"""[goal], [features], [snapshots] and [training]: what is predicted, from what, and how it is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr

from features.settings.section import Section


class Goal(Section):
    """What counts as won and lost, from when on, and how far the score looks ahead."""

    _name: str = PrivateAttr("")

    won: list[str] = Field(["won"], description="stages that mean: the lead closed", min_length=1)
    lost: list[str] = Field(["lost"], description="stages that mean: the lead will not close")
    horizon_days: float = Field(90, description="the score is the probability of closing within so many days", gt=0)
    after: list[str] = Field(
        [], description="only leads that have reached one of these stages are scored, as customers are; none: all are"
    )

    @property
    def name(self) -> str:
        """What the goal is called under [goals]; the main one, [goal], has no name."""
        return self._name

    def called(self, name: str) -> Goal:
        """Return the goal under a name."""
        named = self.model_copy()
        named._name = name  # noqa: SLF001  # its own, and not a setting
        return named


class FeatureLine(Section):
    """One feature of one's own: a verb with its arguments, as the data dictionary explains them."""

    name: str = Field(description="what it is called", min_length=1)
    verb: str = Field(description="count, recency, share, …; the data dictionary explains each", min_length=1)
    about: str = Field(description="what it means, in a sentence", min_length=1)
    unit: str = Field("", description="what it is measured in")
    group: Literal["fit", "intent", "engagement"] = Field("engagement", description="the sub-score that it belongs to")
    where: dict[str, str | list[str]] = Field({}, description="column = name, or one of several names")
    days: float | None = Field(None, description="window, half-life or period", gt=0)
    column: str = Field("", description="column that distinct, total, last, attribute, … look at")
    levels: list[str] = Field([], description="categories of a text")
    each: str = Field("", description="one such feature for each name of this column; {} in the name stands for it")
    events: Literal["", "touches", "stages", "versions", "contacts", "feedback"] = Field(
        "", description="what is looked at, if not what the verb looks at"
    )
    of: Literal["lead", "account"] = Field("lead", description="account: of all contacts of the lead's account")


class Features(Section):
    """What a lead is measured by."""

    add: list[FeatureLine] = Field(
        [],
        description="features of your own; or [[features.add]] blocks",
        examples=[[{
            "name": "pricing_views_14d", "verb": "count", "where": {"properties.path": "/pricing"}, "days": 14,
            "about": "Looks at the pricing page in the last 14 days",
        }]],
    )  # fmt: skip
    remove: list[str] = Field([], description="names in the catalogue that are not used")
    file: Path | None = Field(
        None, description="a Python file with more features, as a tuple FEATURES", examples=["our_features.py"]
    )


class Snapshots(Section):
    """The moments at which open leads are looked at to learn from."""

    every_days: float = Field(7, description="one snapshot of every open lead each so many days", gt=0)
    ages_days: list[float] = Field([], description="instead: one snapshot at each of these ages of the lead")
    max_age_days: float = Field(365, description="leads older than this are not looked at any more", gt=0)
    mature_when: Literal["horizon", "closed"] = Field(
        "horizon",
        description="horizon: an outcome counts once the horizon is past; "
        "closed: once the lead is won or lost, whatever the horizon (for data with a natural end)",
    )
    reporting_lag_days: float = Field(0, description="outcomes are reported up to so many days late", ge=0)


class Training(Section):
    """The model. The defaults are conservative on purpose: lead-sized data punishes larger ones."""

    model: Literal["direct", "competing_risks"] = Field(
        "direct",
        description="direct: trees tell the probability of closing within the horizon; competing_risks: of being won "
        "and of being lost, period by period, also from leads that are still open",
    )
    trees: int = Field(150, description="trees of each member of the ensemble", gt=0)
    learning_rate: float = Field(0.04, gt=0, description="step of each tree")
    leaves: int = Field(8, description="leaves of each tree, which is at most 10 splits deep", gt=1)
    rows_per_leaf: int = Field(20, description="least number of snapshots in a leaf", gt=0)
    column_fraction: float = Field(0.7, description="share of features each tree may use", gt=0, le=1)
    row_fraction: float = Field(0.8, description="share of snapshots each tree sees", gt=0, le=1)
    l2: float = Field(5, description="shrinkage of leaf values", ge=0)
    line_share: float = Field(0.5, description="share of the logistic regression beside the trees", ge=0, le=1)
    members: int = Field(5, description="members of the ensemble; each leaves out one part of the leads", gt=1)
    fewest_outcomes: int = Field(40, description="below so many wins or non-wins no trees are grown", gt=1)
    outlook_days: list[float] = Field([30, 60, 180], description="further horizons, for the expected close date")
    keep_columns: list[str] = Field([], description="features to learn from although the leak report names them")
    test_share: float = Field(0.2, description="latest share of snapshots a new model is judged on", gt=0, lt=1)
    seed: int = Field(0, description="same data, seed and threads give the same model")
    threads: int = Field(1, description="threads of LightGBM", gt=0)
