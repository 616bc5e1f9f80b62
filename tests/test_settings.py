"""Settings: defaults that need no file, one page that explains them, and every mistake named at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from features.errors import ConfigError
from features.settings import Expression, Goal, Settings, read_settings
from features.settings.page import EXAMPLE_GOAL, EXAMPLE_SOURCE, settings_page
from features.settings.section import Section


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TOUCHSTONE_")]:
        monkeypatch.delenv(name)


def written(workspace: Path, text: str) -> Path:
    (workspace / "touchstone.toml").write_text(text, "utf-8")
    return workspace


def refusal(workspace: Path) -> str:
    with pytest.raises(ConfigError, match=r"\.$") as refused:
        read_settings(workspace)
    return str(refused.value)


def sections(section: type[BaseModel]) -> list[type[BaseModel]]:
    return [section, *(found for kind in section.__subclasses__() for found in sections(kind))]


def test_a_workspace_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()


def test_the_defaults_are_those_of_the_design() -> None:
    settings = Settings()
    assert (settings.goal.won, settings.goal.lost, settings.goal.horizon_days) == (["won"], ["lost"], 90)
    assert (settings.snapshots.every_days, settings.snapshots.mature_when) == (7, "horizon")
    training = settings.training
    assert (training.trees, training.learning_rate, training.leaves, training.rows_per_leaf) == (150, 0.04, 8, 20)
    assert (training.column_fraction, training.row_fraction, training.l2) == (0.7, 0.8, 5)
    assert (settings.ingest.timezone, settings.ingest.default_channel) == (None, None)


def test_the_page_of_settings_says_the_defaults(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, settings_page())) == Settings()


def test_the_page_names_every_setting_once_with_its_meaning() -> None:
    page = settings_page()
    for name, section in tables_of(Settings):
        lines = [
            line
            for line in page.split(f"\n[{name}]  # {section.__doc__}\n")[1].split("\n\n")[0].splitlines()
            if line and not line.startswith("[")
        ]
        assert [line.removeprefix("# ").split(" = ")[0] for line in lines] == list(section.model_fields)
        for line, setting in zip(lines, section.model_fields.values(), strict=True):
            assert line.endswith(f"  # {setting.description}")


def tables_of(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the tables of the file that hold settings, by name; one of tables alone holds none."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            below = list(tables_of(field.annotation, f"{above}{name}."))
            yield from below or [(f"{above}{name}", field.annotation)]


def test_every_line_of_the_page_that_is_commented_out_can_be_commented_in(tmp_path: Path) -> None:
    page = settings_page().replace(EXAMPLE_SOURCE, "").replace(EXAMPLE_GOAL, "")
    commented_in = re.sub(r"^# (\w+ = )", r"\1", page, flags=re.MULTILINE)
    ingest = read_settings(written(tmp_path, commented_in)).ingest
    assert (ingest.timezone, ingest.default_channel) == ("Europe/Berlin", "Direct")


def test_the_example_of_a_source_on_the_page_is_one(tmp_path: Path) -> None:
    example = re.sub(r"^# ", "", EXAMPLE_SOURCE, flags=re.MULTILINE)
    source = read_settings(written(tmp_path, example)).sources[0]
    assert (source.file, source.table, source.where) == ("crm-export*.csv", "touches", "status <> 'test'")
    assert source.columns == {
        "lead_id": "Contact ID",
        "occurred_at": "Timestamp",
        "kind": Expression(sql="lower(activity)", value=None),
        "channel": Expression(sql=None, value="Email"),
    }


def test_the_example_of_a_goal_on_the_page_is_one(tmp_path: Path) -> None:
    example = re.sub(r"^# ", "", EXAMPLE_GOAL, flags=re.MULTILINE)
    renewed = read_settings(written(tmp_path, example)).for_goal("renewed").goal
    assert renewed == Goal(won=["renewed"], lost=["churned"], horizon_days=365, after=["won"]).called("renewed")


def test_the_settings_of_a_further_goal_are_the_same_but_for_the_goal(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, '[training]\ntrees = 9\n[goals.renewed]\nwon = ["renewed"]\n'))
    assert (settings.goal.name, settings.goal) == ("", Goal())
    renewed = settings.for_goal("renewed")
    assert (renewed.goal.name, renewed.goal.won, renewed.training.trees) == ("renewed", ["renewed"], 9)


def test_a_goal_that_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "[goals.renewed]\n[goals.expanded]\n"))
    sentence = "There is no goal churned under [goals] in touchstone.toml. The goals are: renewed, expanded."
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        settings.for_goal("churned")
    with pytest.raises(ConfigError, match=r"There are none\.$"):
        Settings().for_goal("churned")


def test_a_goal_is_named_so_that_a_folder_can_be(tmp_path: Path) -> None:
    assert 'goals.../up is "../up": String should match pattern' in refusal(written(tmp_path, '[goals."../up"]\n'))


@pytest.mark.parametrize("section", sections(Section), ids=lambda section: section.__name__)
def test_every_setting_has_a_meaning(section: type[BaseModel]) -> None:
    of_tables = {name.rpartition(".")[2] for name, _ in tables_of(section)}
    said = (name for name, field in section.model_fields.items() if not field.description)
    assert [name for name in said if name not in of_tables] == []


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, '[goal]\nwon = ["closed"]\nhorizon_days = 30\n'))
    assert settings.goal == Goal(won=["closed"], horizon_days=30)
    assert settings.training == Settings().training


def test_the_environment_wins_over_the_file_setting_by_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, '[goal]\nwon = ["closed"]\nhorizon_days = 30\n')
    monkeypatch.setenv("TOUCHSTONE_GOAL__HORIZON_DAYS", "60")
    assert read_settings(tmp_path).goal == Goal(won=["closed"], horizon_days=60)


def test_lists_in_the_environment_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_GOAL__WON", '["won", "signed"]')
    assert read_settings(tmp_path).goal.won == ["won", "signed"]


def test_a_list_in_the_environment_that_is_not_json_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_GOAL__WON", "won")
    assert refusal(tmp_path) == (
        'The environment cannot be used: error parsing value for field "goal" from source "EnvSettingsSource". '
        "Write lists as in JSON."
    )


def test_unknown_keys_and_wrong_values_are_all_named_at_once(tmp_path: Path) -> None:
    written(tmp_path, '[goal]\nhorizon_days = 0\nwonn = ["won"]\n[training]\ntrees = "many"\n[extra]\nx = 1\n')
    assert refusal(tmp_path) == (
        f"{tmp_path}/touchstone.toml cannot be used. goal.horizon_days is 0: Input should be greater than 0; "
        "goal.wonn: there is no such setting; "
        'training.trees is "many": Input should be a valid integer, unable to parse string as an integer; '
        "extra: there is no such setting. `touchstone init` explains every setting."
    )


def test_a_goal_without_a_won_stage_is_refused(tmp_path: Path) -> None:
    assert "goal.won is []: List should have at least 1 item" in refusal(written(tmp_path, "[goal]\nwon = []\n"))


def test_a_source_of_no_table_is_refused(tmp_path: Path) -> None:
    written(tmp_path, '[[sources]]\nfile = "deals.csv"\ntable = "deals"\n')
    tables = "'leads', 'touches', 'stages', 'spend', 'rates', 'identities' or 'feedback'"
    assert f'sources.0.table is "deals": Input should be {tables}.' in refusal(tmp_path)


@pytest.mark.parametrize("expression", ["{ }", '{ sql = "lower(x)", value = "x" }'])
def test_a_column_is_made_by_one_of_sql_and_value(tmp_path: Path, expression: str) -> None:
    written(tmp_path, f'[[sources]]\nfile = "x.csv"\ntable = "leads"\ncolumns.owner = {expression}\n')
    advice = 'sources.0.columns.owner: write { sql = "…" } or { value = "…" }, one of the two.'
    assert advice in refusal(tmp_path)


def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "[goal]\nwon = won\n")) == (
        f"{tmp_path}/touchstone.toml is not TOML: Invalid value (at line 2, column 7). Mend that line."
    )


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_bytes('[goal]\nwon = ["gewonnen für uns"]\n'.encode("latin-1"))
    assert refusal(tmp_path) == (
        f"{tmp_path}/touchstone.toml is not TOML: 'utf-8' codec can't decode byte 0xfc in position 25: "
        "invalid start byte. Mend that line."
    )


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="Instance is frozen"):
        settings.goal.horizon_days = 30  # type: ignore[misc]


def test_the_page_is_toml_as_it_stands() -> None:
    assert set(tomllib.loads(settings_page())) == set(Settings.model_fields) - {"sources", "goals"}
