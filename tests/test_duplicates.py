"""Duplicates: leads that seem to be one person are proposed with a reason, and nothing is merged by a program."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tables import merge, moment, table, version

from features.duplicates import MOST, duplicates
from features.errors import DataError
from features.lake import Lake

Row = dict[str, Any]


def found(folder: Path, *people: Row, identities: tuple[Row, ...] = ()) -> list[tuple[str, str, str]]:
    """Return what is proposed, (duplicate, lead, why), of people called a, b, c, …, who came in this order."""
    lake = Lake(folder)
    lake.append("leads", table("leads", [version("abcdefgh"[i], i, p, created=i) for i, p in enumerate(people)]))
    lake.append("identities", table("identities", identities))
    return [(row["duplicate_id"], row["lead_id"], row["why"]) for row in duplicates(lake, moment(30)).to_pylist()]


def person(first: str = "Ada", last: str = "Lovelace", company: str = "Engine Works Ltd", **more: str) -> Row:
    return {"first_name": first, "last_name": last, "company": company, **more}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@x.org", " ADA@X.org "),
        ("ada@x.org", "ada+event@x.org"),
        ("ada.l@gmail.com", "adal+a+b@googlemail.com"),
    ],
)
def test_an_address_is_the_same_whatever_its_case_tag_and_gmail_dots(tmp_path: Path, one: str, other: str) -> None:
    assert found(tmp_path, {"email": one}, {"E-Mail": other}) == [("b", "a", "same e-mail")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("ada@x.org", "ada@y.org"), ("a.da@x.org", "ada@x.org"), ("none", "none"), ("", ""), ("info@x.org", "info@x.org")],
)
def test_another_address_or_none_or_a_shared_one_is_no_reason(tmp_path: Path, one: str, other: str) -> None:
    assert found(tmp_path, {"email": one}, {"email": other}) == []


@pytest.mark.parametrize("other", ["0049 30 1234567", "030/1234567", "(030) 123 45 67", "49301234567"])
def test_a_phone_is_the_same_in_every_form_if_the_name_is_similar(tmp_path: Path, other: str) -> None:
    one, two = person(Phone="+49 30 1234567"), person("Ada", "Lovlace", "", Mobile=other)
    assert found(tmp_path, one, two) == [("b", "a", "same phone, similar name")]


def test_colleagues_on_one_phone_are_two_people(tmp_path: Path) -> None:
    phone = {"phone": "+49 30 1234567"}
    assert (
        found(tmp_path, person(**phone), person("Charles", "Babbage", **phone), person("Ada", "Byron", **phone)) == []
    )


def test_numbers_that_end_alike_in_two_countries_are_two(tmp_path: Path) -> None:
    assert found(tmp_path, person(company="", phone="+49 30 1234567"), person(company="", phone="+43 30 1234567")) == []


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (person("ADA", "Lovelace", "ENGINE-WORKS"), "same name, same company"),
        ({"name": "Lovelace, Ada", "Company Name": "Engine Works Inc."}, "same name, same company"),
        (person("Ada", "Lovelase", "Engine Works"), "similar name, same company"),
        (person("A."), "same company, same name but for an initial"),
    ],
)
def test_a_like_name_in_the_same_company_is_a_reason(tmp_path: Path, other: Row, why: str) -> None:
    assert found(tmp_path, person(), other) == [("b", "a", why)]


@pytest.mark.parametrize("other", [person(company="Other Works"), person("Bob"), person(company="")])
def test_a_namesake_elsewhere_and_another_colleague_are_no_duplicates(tmp_path: Path, other: Row) -> None:
    assert found(tmp_path, person(), other) == []


def test_the_older_lead_survives_and_each_duplicate_is_proposed_once_with_its_surest_reason(tmp_path: Path) -> None:
    people = [person(), person(email="ada@x.org"), person(company="", email="Ada@x.org")]
    assert found(tmp_path, *people) == [("c", "b", "same e-mail"), ("b", "a", "same name, same company")]


def test_what_was_merged_or_unmerged_is_not_proposed_again(tmp_path: Path) -> None:
    same = {"email": "ada@x.org"}
    assert found(tmp_path / "1", same, same, identities=(merge("b", "a", 5),)) == []
    assert found(tmp_path / "2", same, same, identities=(merge("b", "a", 5), merge("b", "b", 6))) == []
    assert found(tmp_path / "3", same, same, same, identities=(merge("b", "a", 5),)) == [("c", "a", "same e-mail")]


def test_the_latest_version_tells_who_a_lead_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = [version("a", 0, {"email": "old@x.org"}), version("b", 1, {"email": "old@x.org"}, created=1)]
    lake.append("leads", table("leads", [*rows, version("a", 2, {"email": "new@x.org"})]))
    assert [duplicates(lake, moment(day)).num_rows for day in (1.5, 3)] == [1, 0]


def test_what_very_many_share_is_no_reason(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = [version(f"lead-{i}", 0, {"email": "x@x.org"}) for i in range(MOST + 1)]
    lake.append("leads", table("leads", rows))
    assert duplicates(lake, moment(1)).num_rows == 0


def test_leads_that_cannot_be_told_apart_are_refused_with_the_remedy(tmp_path: Path) -> None:
    sentence = (
        r"^No attribute of the leads tells who they are: there is plan, seats\. Ingest email, phone, name or company, "
        r"or map them under \[sources\.columns\] of touchstone\.toml\.$"
    )
    with pytest.raises(DataError, match=sentence):
        found(tmp_path, {"seats": 5, "plan": "x"})


def test_no_leads_are_refused_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^No attribute of the leads tells who they are: there is none\. "):
        duplicates(Lake(tmp_path), moment(1))


def test_names_with_quotes_and_signs_are_no_sql(tmp_path: Path) -> None:
    odd = {"e'mail": "ada@x.org", 'Pho"ne': "0301234567", "na$.me": "Ada L'Ovelace", "full/~name": "Ada"}
    assert found(tmp_path, odd, odd) == [("b", "a", "same e-mail")]


def test_planted_duplicates_are_found_as_surely_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # which a benchmark changes for itself
    spec = importlib.util.spec_from_file_location("made", ROOT / "benchmarks" / "duplicates.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    leads, truth = made.made_leads(20_000)
    Lake(tmp_path).append("leads", leads)
    proposals = duplicates(Lake(tmp_path), moment(60)).to_pylist()
    hits = [row["duplicate_id"] for row in proposals if made.true_share([row], truth)]
    assert len(hits) / len(proposals) > 0.95
    assert len(truth.keys() & set(hits)) / len(truth) > 0.95
    for why in {row["why"] for row in proposals}:
        rows = [row for row in proposals if row["why"] == why]
        assert made.true_share(rows, truth) > rows[0]["sure"] - 0.05, why


def test_proposals_are_written_confirmed_and_ingested(tmp_path: Path, command: Callable[..., tuple[int, str]]) -> None:
    (tmp_path / "leads.csv").write_text(
        "lead_id,created_at,email\na,2026-01-01T00:00Z,ada@x.org\nb,2026-01-02T00:00Z,ADA@x.org\n"
    )
    command("ingest", str(tmp_path / "leads.csv"), workspace=tmp_path)
    file = tmp_path / "identities.csv"
    status, printed = command("check", "--duplicates", str(file), workspace=tmp_path)
    assert (status, "same e-mail" in printed, "Nothing was merged" in printed) == (0, True, True)
    assert file.read_text().splitlines()[0] == '"duplicate_id","lead_id","observed_at","why","sure"'
    assert command("ingest", str(file), workspace=tmp_path)[0] == 0
    stored = Lake(tmp_path / "lake").query("SELECT duplicate_id, lead_id FROM identities").to_pylist()
    assert stored == [{"duplicate_id": "b", "lead_id": "a"}]
    again = command("check", "--duplicates", str(file), workspace=tmp_path)
    assert again == (0, "No two leads seem to be one person.\n")
    assert len(file.read_text().splitlines()) == 1
