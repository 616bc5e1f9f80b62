"""The data dictionary, and a team's own features."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from features.catalogue import CATALOGUE, catalogue_of
from features.dictionary import data_dictionary, data_dictionary_page, write_dictionary
from features.errors import ConfigError, DataError
from features.people import department, email_kind, seniority
from features.settings import Features, read_settings
from features.verbs import VERBS, Feature, columns_of, feature_of
from touchstone import app

ROOT = Path(__file__).parents[1]
PRICING = {
    "name": "pricing_14d",
    "verb": "count",
    "about": "Looks at prices",
    "days": 14,
    "where": {"kind": ["a", "b"]},
}


def own(*lines: dict[str, Any], **more: Any) -> tuple[Feature, ...]:
    return catalogue_of(Features.model_validate({"add": lines, **more}))


def test_the_page_and_the_json_are_those_of_the_catalogue() -> None:
    assert (ROOT / "docs" / "features.md").read_text("utf-8") == data_dictionary_page(CATALOGUE)
    assert json.loads((ROOT / "docs" / "features.json").read_text("utf-8")) == data_dictionary(CATALOGUE)


def test_every_feature_and_every_verb_is_on_the_page_with_what_stands_for_nothing() -> None:
    page = data_dictionary_page(CATALOGUE)
    assert [line.name for line in CATALOGUE if f"| `{line.name}` | {line.about}. |" not in page] == []
    assert [name for name, verb in VERBS.items() if f"| `{name}` | {verb.meaning} | {verb.missing} |" not in page] == []
    assert [
        row["name"] for row in data_dictionary(CATALOGUE) if not (row["unit"] and row["meaning"] and row["missing"])
    ] == []


def test_every_verb_is_used_or_explained_by_an_example() -> None:
    assert set(VERBS) - {line.verb for line in CATALOGUE} == {"total", "greatest", "missing"}


@pytest.mark.parametrize(
    ("email", "kind"),
    [("a@gmail.com", "personal"), ("a@yahoo.co.uk", "personal"), ("a@web.de", "personal"), ("a@web.com", "business"),
     ("a@Mailinator.com", "disposable"), ("a@cs.ox.ac.uk", "education"), ("a@b.example.com", "business"),
     ("no address", None), ("@gmail.com", None), ("a@localhost", None)],
)  # fmt: skip
def test_the_kind_of_an_address_is_that_of_its_domain(email: str, kind: str | None) -> None:
    assert email_kind(email) == kind


@pytest.mark.parametrize(
    ("title", "level", "field"),
    [("Head of Sales", "director", "sales"), ("VP, Marketing", "vice_president", "marketing"),
     ("Co-Founder & CEO", "executive", "management"), ("Senior Data Scientist", "senior", "data"),
     ("Geschäftsführerin", "executive", "management"), ("Leiter Einkauf", "director", "procurement"),
     ("Praktikant Buchhaltung", "junior", "finance"), ("Pilot", "staff", "other"), (" ", None, None)],
)  # fmt: skip
def test_a_job_title_names_seniority_and_department(title: str, level: str | None, field: str | None) -> None:
    assert (seniority(title), department(title)) == (level, field)


def test_a_feature_is_read_from_what_json_makes_of_it() -> None:
    line = Feature("a", "count", "", where=(("kind", "x"), ("channel", ("y", "z"))), days=7, levels=("u",))
    assert feature_of(json.loads(json.dumps(vars(line)))) == line


def test_a_team_adds_and_removes_features() -> None:
    lines = own(PRICING, remove=["touches_1d"])
    assert lines[-1] == Feature("pricing_14d", "count", "Looks at prices", days=14, where=(("kind", ("a", "b")),))
    assert {line.name for line in CATALOGUE} - {line.name for line in lines} == {"touches_1d"}
    assert own() == CATALOGUE


def test_the_columns_that_features_look_at_are_known() -> None:
    path = {**PRICING, "where": {"properties.path": "/pricing", "kind": "visit"}}
    spent = {"name": "cost", "verb": "total", "about": "-", "column": "cost"}
    each = {"name": "{}_touches_90d", "verb": "count", "about": "-", "each": "campaign"}
    lines = own(path, spent, remove=["{}_touches_90d"]) + own(each, remove=["{}_touches_90d"])
    assert columns_of(lines) == ("campaign", "cost", "properties.path")
    assert columns_of(CATALOGUE) == ()


def test_every_line_that_cannot_be_used_is_named_at_once() -> None:
    wrong = {**PRICING, "name": "wrong", "verb": "cuont"}
    each = {**PRICING, "name": "each", "each": "kind"}
    with pytest.raises(ConfigError) as raised:
        own(wrong, each, {**PRICING, "name": "touches"}, remove=["touchs_7d"])
    assert str(raised.value) == (
        "[features] cannot be used. touchs_7d cannot be removed: there is no such feature (did you mean touches_7d?). "
        "touches is there 2 times. Name each once. wrong has the verb cuont, which there is not (did you mean count?). "
        "each has a template for each kind, but no {} in its name."
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"verb": "distinct"}, "x needs a column: what distinct looks at."),
        ({"verb": "missing"}, "x needs a column: what missing looks at."),
        ({"verb": "count", "where": {"campain": "May"}},
         "x looks at campain, which no row of touches has (did you mean campaign?)."),
        ({"verb": "count", "events": "stages", "where": {"kind": "won"}},
         "x looks at kind, which no row of stages has."),
        ({"verb": "count", "events": "contacts"}, "x looks at contacts of the lead, of which there are none."),
        ({"verb": "attribute", "column": "plan", "of": "account"},
         "x looks at versions of the account, of which there are none."),
        ({"verb": "distinct", "column": "contact"}, "x looks at contact, which no row of touches has."),
    ],
)  # fmt: skip
def test_what_no_row_has_cannot_be_looked_at(line: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        own({"name": "x", "about": "-", **line})
    assert str(raised.value) == f"[features] cannot be used. {why}"


def test_every_line_of_ours_could_be_a_team_s() -> None:
    ours = [data | {"name": f"own_{data['name']}"} for data in map(vars, CATALOGUE)]
    assert len(own(*({key: list(v) if key == "levels" else dict(v) if key == "where" else v for key, v in line.items()}
                     for line in ours))) == 2 * len(CATALOGUE)  # fmt: skip


def test_a_line_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="windw"):
        own({**PRICING, "windw": 3})


def test_a_python_file_beside_the_settings_adds_features(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_text('[features]\nfile = "ours.py"\nremove = ["channels"]\n')
    (tmp_path / "ours.py").write_text(
        "from features.catalogue import count\n"
        "FEATURES = (count('calls_3d', 'Calls in 3 days', 3, (('kind', 'call'),)),)\n"
    )
    lines = catalogue_of(read_settings(tmp_path).features)
    assert lines[-1] == Feature("calls_3d", "count", "Calls in 3 days", "touches", days=3, where=(("kind", "call"),))
    assert len(lines) == len(CATALOGUE)


def test_a_python_file_may_say_where_as_touchstone_toml_does(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(
        "from features.catalogue import count\nFEATURES = (count('calls', 'Calls', where={'kind': ['call', 'x']}),)\n"
    )
    assert own(file=tmp_path / "ours.py")[-1].where == (("kind", ("call", "x")),)


def test_every_line_of_a_python_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(
        "from features.catalogue import count\n"
        "FEATURES = (count('calls', 'Calls', '3 days'), count('mails', 'Mails', where='email'))\n"
    )
    with pytest.raises(ConfigError) as refused:
        own(file=file)
    assert str(refused.value) == (
        f"{file} cannot be used. "
        'calls: days is "3 days": Input should be a valid number, unable to parse string as a number. '
        'mails: where is "email": Input should be a valid dictionary.'
    )


def test_the_line_at_which_a_python_file_stops_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(
        "from features.catalogue import count\nFEATURES = (\n    count('calls', 'Calls', kind='call'),\n)\n"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}, line 3, cannot be run: TypeError: "):
        own(file=file)


@pytest.mark.parametrize(("text", "why"), [("1 / 0", "ZeroDivisionError"), ("A = 1", "has no tuple FEATURES")])
def test_a_python_file_that_is_none_is_refused_with_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "ours.py").write_text(text)
    with pytest.raises(ConfigError, match=why):
        own(file=tmp_path / "ours.py")


def test_a_dictionary_is_markdown_or_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither \.md nor \.json"):
        write_dictionary(CATALOGUE, tmp_path / "features.txt")


def test_the_command_writes_the_dictionary_of_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_text('[features]\nremove = ["touches_1d"]\n')
    file = tmp_path / "dictionary.json"
    said = CliRunner().invoke(app, ["features", "--workspace", str(tmp_path), "--dictionary", str(file)])
    assert said.exit_code == 0, said.output
    assert said.stdout == f"What each feature means is in {file}.\n"
    assert "touches_1d" not in {row["name"] for row in json.loads(file.read_text("utf-8"))}
