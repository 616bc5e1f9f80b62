"""What the report holds up to both teams: definitions, sources, rejections, notes back, and what the score earned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import history, micros, moment, stage, table, touch, verdict, version

from features.lake import Lake
from features.matrix import feature_matrix
from features.settings import Goal, Settings
from features.verbs import Feature, Moments
from serving import batch
from serving.pages.bands import bands
from serving.pages.book import Book, Edition
from serving.pages.heard import heard
from serving.pages.rejections import by_channel, notes
from serving.pages.report import page, report
from serving.pages.worth import worth
from serving.scorer import Scorer
from serving.spec import Spec
from training.lines import logistic_line

TODAY = 400
REJECTIONS = Feature(
    "rejections", "count", "Times rejected", "rejections", where=(("verdict", "rejected"),), events="feedback"
)


def edition_of(folder: Path, settings: Settings, **rows: Iterable[dict[str, Any]]) -> Edition:
    lake = Lake(folder / "lake")
    for name, told in rows.items():
        if name == "scores":
            batch.store(lake, scores(told))
        else:
            lake.append(name, table(name, told))
    return Book(folder, lake, settings).make(moment(TODAY))


def scores(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    usual = {"horizon_days": 90.0, "low": 0.0, "high": 1.0, "grade": "A", "trend": "steady", "reasons": "[]"}
    told = pd.DataFrame([{**usual, "model_version": "v1", **row} for row in rows])
    return told.assign(as_of=pd.to_datetime([moment(day) for day in told["as_of"]], utc=True).as_unit("us"))


def new_leads(probabilities: list[float]) -> dict[str, list[dict[str, Any]]]:
    """Return leads that came in the last weeks and were scored on the next day."""
    days = {f"l{i:03}": TODAY - 80 + i / 2 for i in range(len(probabilities))}
    said = zip(days.items(), probabilities, strict=True)
    return {
        "leads": [version(lead, day, created=day) for lead, day in days.items()],
        "scores": [{"lead_id": lead, "as_of": day + 1, "probability": p} for (lead, day), p in said],
    }


def taking(**capacity: float) -> Settings:
    return Settings.model_validate({"report": capacity})


def test_a_band_is_as_wide_as_people_can_take(tmp_path: Path) -> None:
    settings = taking(sql_a_week=2, mql_a_week=3)
    edition = edition_of(tmp_path, settings, **new_leads([(i + 0.5) / 120 for i in range(120)]))
    sql, mql, others = bands(edition, settings)
    assert (sql["band"], sql["from"], sql["to"]) == ("SQL", pytest.approx(96.5 / 120), 1)
    assert (sql["a_week"], sql["now"]) == (2, 24)
    assert (mql["band"], mql["from"], mql["to"], mql["a_week"]) == ("MQL", pytest.approx(84.5 / 120), sql["from"], 1)
    assert (others["band"], others["capacity"], others["from"], others["a_week"]) == ("other leads", None, 0, 7)


def test_leads_that_are_alike_are_not_torn_apart(tmp_path: Path) -> None:
    settings = taking(sql_a_week=1)
    edition = edition_of(tmp_path, settings, **new_leads([0.9] * 6 + [0.5] * 10 + [0.1] * 50))
    assert [(one["from"], one["a_week"]) for one in bands(edition, settings)] == [(0.9, 0.5), (0, 5)]


def test_a_band_says_what_was_promised_and_what_came_true(tmp_path: Path) -> None:
    told = new_leads([0.9, 0.1])
    told["leads"] += [version(lead, 200, created=200) for lead in ("old", "older")]
    told["scores"] += [{"lead_id": lead, "as_of": 201, "probability": 0.95} for lead in ("old", "older")]
    settings = taking(sql_a_week=0.1)
    edition = edition_of(tmp_path, settings, **told, stages=[stage("old", 250, "won"), stage("older", 292, "won")])
    sql, others = bands(edition, settings)
    assert (sql["from"], sql["promised"], sql["realised"]) == (0.9, pytest.approx(0.95), 0.5)
    assert (others["promised"], others["realised"]) == (None, None)


def test_without_a_capacity_there_is_no_band(tmp_path: Path) -> None:
    assert bands(edition_of(tmp_path, Settings(), **new_leads([0.5])), Settings()) == []


def test_what_leads_say_stands_beside_what_was_tracked(tmp_path: Path) -> None:
    said = {"ada": " Podcast", "bob": "Podcast", "cy": "A friend", "dee": ""}
    tracked = {"ada": "Direct", "bob": "Email", "cy": "Direct"}
    leads = [version(lead, 300, {"how_did_you_hear_about_us": text}, created=300) for lead, text in said.items()]
    touches = [touch(lead, 299, channel=channel) for lead, channel in tracked.items()]
    won = {**stage("ada", 320, "won"), "amount": 100}
    edition = edition_of(tmp_path, Settings(), leads=leads, touches=touches, stages=[won])
    podcast, friend = heard(edition, moment(0))
    assert (podcast["said"], podcast["leads"], podcast["won"], podcast["revenue"]) == ("Podcast", 2, 1, 100)
    assert podcast["tracked"] == [{"channel": "Direct", "share": 0.5}, {"channel": "Email", "share": 0.5}]
    assert (friend["said"], friend["won"]) == ("A friend", 0)
    assert heard(edition, moment(301)) == []


def test_rejections_are_told_by_channel_and_week(tmp_path: Path) -> None:
    leads = ("ada", "bob", "cy", "dee")
    touches = [touch(lead, 299, channel="Email" if lead == "dee" else "Ads") for lead in leads]
    judged = [
        verdict("ada", 390, reason="no fit"),
        verdict("bob", 390.5, reason="no fit"),
        verdict("cy", 397, "accepted"),
        verdict("dee", 300, reason="not now"),  # long ago
    ]
    versions = [version(lead, 300, created=300) for lead in leads]
    edition = edition_of(tmp_path, Settings(), leads=versions, touches=touches, feedback=judged)
    (ads,) = by_channel(edition)
    assert (ads["channel"], ads["judged"], ads["rejected"], ads["reason"]) == ("Ads", 3, 2, "no fit")
    assert [week["rejected"] for week in ads["weeks"]] == [2, 0]


def test_a_rep_is_told_which_scores_his_rejections_changed() -> None:
    matrix = np.array([[0.0], [0], [0], [1], [1], [1]], np.float32)
    line = logistic_line(matrix, np.array([1.0, 1, 0, 0, 0, 1]), np.ones(6), (REJECTIONS,))
    spec = Spec((REJECTIONS,), 90, 0.0, 6, outcomes=3, lines=(line,), line_share=1.0, medians=(0.0,))
    scorer = Scorer(spec, None, "v1")
    told = history(
        [version(lead, 0) for lead in ("ada", "bob", "cy", "won")],
        stages=[stage("won", 3, "won")],
        feedback=[
            *(verdict(lead, 2, reason="no fit") for lead in ("ada", "bob", "won")),
            verdict("cy", 2, "accepted"),
            {**verdict("bob", 3, reason="not now"), "by": "Sam"},
            verdict("cy", 9),  # said later
        ],
    )
    rae, sam = notes(scorer, told, Goal(), micros(9))
    none, once, twice = scorer.probabilities(np.array([[0.0], [1], [2]], np.float32)).tolist()
    assert none > once > twice
    assert (rae["by"], rae["rejections"], rae["open"], rae["changed"]) == ("Rae", 3, 2, 2)
    assert {one["lead_id"]: (one["without"], one["with"]) for one in rae["examples"]} == {
        "ada": (none, once),
        "bob": (once, twice),
    }
    assert (sam["rejections"], sam["changed"]) == (1, 1)
    now = Moments(told, np.zeros(1, np.int64), np.array([micros(9)]))
    assert feature_matrix((REJECTIONS,), now)[0, 0] == 1  # what is known is not changed by asking


def test_without_feedback_there_is_no_note() -> None:
    scorer = Scorer(Spec((REJECTIONS,), 90, 0.0, 6, medians=(0.0,)), None, "v1")
    assert notes(scorer, history([version("ada", 0)]), Goal(), micros(9)) == []


def explored(leads: int) -> dict[str, list[dict[str, Any]]]:
    """Return an experiment: of ten leads four are withheld; half of the shown ones close, and a quarter of those."""
    names = [f"e{i:03}" for i in range(leads)]
    hidden = [i % 10 < 4 for i in range(leads)]
    wins = [(i // 10 % 4 == 0) if hide else (i // 10 % 2 == 0) for i, hide in enumerate(hidden)]
    said = zip(names, hidden, strict=True)
    return {
        "leads": [version(lead, 200, created=200) for lead in names],
        "stages": [
            {**stage(lead, 291 if win else 292, "won"), "amount": 10} for lead, win in zip(names, wins, strict=True)
        ],
        "scores": [
            {"lead_id": lead, "as_of": 201, "probability": 0.3, "withheld": hide, "propensity": 0.4}
            for lead, hide in said
        ],
    }


def test_what_the_score_earned_is_told_of_matured_leads(tmp_path: Path) -> None:
    closes, money = worth(edition_of(tmp_path, Settings(), **explored(200)))
    assert (closes["unit"], closes["shown"], closes["withheld"]) == ("closes", 120, 80)
    assert (closes["of_shown"], closes["of_withheld"]) == (pytest.approx(0.5), pytest.approx(0.25))
    assert (closes["a_lead"], closes["together"]) == (pytest.approx(0.25), pytest.approx(30))
    assert closes["low"] < 0.25 < closes["high"]
    assert (money["unit"], money["together"]) == ("revenue", pytest.approx(300))


def test_nothing_is_told_of_leads_whose_horizon_is_not_past_or_that_were_no_part_of_it(tmp_path: Path) -> None:
    told = explored(200)
    later = [{**row, "as_of": 311} for row in told["scores"]]
    assert worth(edition_of(tmp_path / "later", Settings(), **{**told, "scores": later})) == []
    beside = [{**row, "propensity": 0.0} for row in told["scores"]]
    assert worth(edition_of(tmp_path / "beside", Settings(), **{**told, "scores": beside})) == []


def test_the_page_says_all_of_it(tmp_path: Path) -> None:
    settings = Settings.model_validate({"report": {"sql_a_week": 2}, "goals": {"renewed": {"won": ["renewed"]}}})
    told = explored(200)
    told["leads"] = [{**row, "attributes": '{"how_did_you_hear_about_us": "Podcast"}'} for row in told["leads"]]
    told["leads"] += (new := new_leads([0.5]))["leads"]
    told["scores"] += [{**row, "withheld": False, "propensity": 0.0} for row in new["scores"]]
    edition_of(tmp_path, settings, **told, feedback=[verdict("e000", 390, reason="no fit")])
    written = page(report(tmp_path, Lake(tmp_path / "lake"), settings, moment(TODAY)))
    for text in (
        "What we call an MQL, and an SQL", "Goals side by side", "Where leads say they heard of us", "Podcast",
        "Rejections by channel and week", "no fit", "closed 25.0 points more often", "30 closes more",
        "Seen and agreed",
    ):  # fmt: skip
        assert text in written
