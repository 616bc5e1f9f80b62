"""Who objected to profiling is neither scored nor learned from, from the moment that this is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import eager_and_idle
from tables import history, merge, micros, stage, table, touch, version
from test_service import serving
from trained import NOW, Company

from features.history import NEVER
from features.lake import Lake
from features.objections import OBJECTION, objecting, profiled
from features.settings import Settings
from features.templates import learned_features
from serving.batch import not_scored, open_leads
from training.snapshots import labelled

GOAL = Settings().goal


def objects(lead: str, observed: float, said: Any = True) -> dict[str, Any]:
    return version(lead, observed, {OBJECTION: said})


@pytest.mark.parametrize("said", [True, "true", "Yes", 1, "2026-01-03", "x"])
def test_anything_but_a_no_objects(said: Any) -> None:
    assert objecting(history([objects("ada", 0, said)]), micros(1)).tolist() == [True]


@pytest.mark.parametrize("said", [False, "false", " No ", 0, "", None, "n"])
def test_a_no_does_not_object(said: Any) -> None:
    assert objecting(history([objects("ada", 0, said)]), micros(1)).tolist() == [False]


def test_an_objection_holds_from_when_it_is_known_until_it_is_taken_back() -> None:
    seen = history([version("ada", 0), objects("ada", 2), version("ada", 3, {"size": "s"}), objects("ada", 4, "no")])
    known = {day: objecting(seen, micros(day)).tolist() for day in (1, 2, 2.5, 3.5, 5)}
    assert known == {1: [False], 2: [False], 2.5: [True], 3.5: [True], 5: [False]}


def test_who_objects_under_one_record_objects_under_those_merged_with_it() -> None:
    seen = history([version("ada", 0), objects("ida", 1)], identities=[merge("ida", "ada", 2)])
    assert profiled(seen, micros(1.5)).tolist() == [True, False]
    assert profiled(seen, micros(3)).tolist() == [False, False]
    seen = history([version("ada", 0), version("ida", 1), objects("ada", 4)], identities=[merge("ida", "ada", 2)])
    assert profiled(seen, micros(5)).tolist() == [False, False]


def test_what_remains_of_an_erased_person_is_not_profiled() -> None:
    remains = f"erased-{'0' * 32}-000000000"
    seen = history([version(lead, 0) for lead in ("ada", remains, "erased-by-mistake", "zoe")])
    assert dict(zip(seen.lead_ids, profiled(seen, micros(1)).tolist(), strict=True)) == {
        "ada": True, "erased-by-mistake": True, remains: False, "zoe": True,
    }  # fmt: skip


def test_objectors_who_are_open_are_named_and_not_scored() -> None:
    seen = history([objects("ada", 0), version("bob", 0), objects("cem", 0)], stages=[stage("cem", 1, "won")])
    assert [seen.lead_ids[lead] for lead in open_leads(seen, GOAL, micros(2)).lead] == ["bob"]
    assert not_scored(seen, GOAL, micros(2)) == ["ada"]


def test_nothing_is_learned_from_who_objects() -> None:
    leads = [f"l{i:02}" for i in range(25)]
    rows = [version(lead, 0, {"firm": "Byron"}) for lead in leads]
    stages = [stage(lead, 20, "won") for lead in leads]

    def learned(*more: dict[str, Any]) -> tuple[int, list[tuple[str, ...]]]:
        seen = history([*rows, *more], [touch(lead, 1) for lead in leads], stages)
        levels = [line.levels for line in learned_features(seen, micros(200)) if line.name == "firm"]
        return len(np.unique(labelled(seen, Settings(), micros(200)).moments.lead)), levels

    objections = [objects(lead, 190) for lead in leads[:6]]
    assert learned() == (25, [("Byron",)])
    assert learned(*objections) == (19, [])
    assert learned(*(objects(lead, 201) for lead in leads[:6]))[0] == 25  # not known yet


def test_without_objections_every_snapshot_is_learned_from() -> None:
    seen = eager_and_idle(20)
    assert profiled(seen, NEVER).all()


@pytest.fixture(scope="module")
def workspace(trained_company: Company, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a company of which two open leads have objected just now."""
    copied = Path(shutil.copytree(trained_company.workspace, tmp_path_factory.mktemp("objecting") / "company"))
    day = (NOW - table("leads", [version("x", 0)])["observed_at"][0].as_py()).total_seconds() / 86400 - 0.01
    seen = trained_company.history
    first = open_leads(seen, GOAL, trained_company.as_of).lead[:2]
    Lake(copied / "lake").append("leads", table("leads", [objects(seen.lead_ids[lead], day) for lead in first]))
    return copied


def test_an_objector_is_named_by_the_command_and_refused_by_the_service(
    trained_company: Company, workspace: Path, command: Callable[..., tuple[int, str]]
) -> None:
    seen = trained_company.history
    one, two, three, *_ = (seen.lead_ids[lead] for lead in open_leads(seen, GOAL, trained_company.as_of).lead)
    with serving(workspace, trained_company.settings) as client:
        sent = {"lead_id": "new", "created_at": "2026-01-01T00:00:00Z", "attributes": {OBJECTION: "yes"}}
        asked = [{"lead_ids": [one, three]}, {"lead_ids": [three]}, {"leads": [sent]}]
        answers = [client.post("/score", json=body | {"as_of": NOW.isoformat()}) for body in asked]
    assert [answer.status_code for answer in answers] == [400, 200, 400]
    assert answers[0].json()["error"] == f"{one} is not scored, since the person objected to profiling."
    assert answers[2].json()["error"] == "new is not scored, since the person objected to profiling."
    status, printed = command("score", "--as-of", NOW.isoformat(), "--json", workspace=workspace)
    document = json.loads(printed)
    assert (status, [row["lead_id"] for row in document["not_scored"]]) == (0, [one, two])
    assert not {one, two} & {row["lead_id"] for row in document["scores"]}
    assert Lake(workspace / "lake").query("SELECT 1 FROM scores WHERE lead_id IN ($1, $2)", [one, two]).num_rows == 0
    printed = command("score", "--as-of", NOW.isoformat(), workspace=workspace)[1]
    assert printed.endswith("2 leads are not scored: objected to profiling.\n")
