"""The command line of connectors: what is given, what is printed, and the status at the end."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT
from connected import NOW, SECRETS, scored

from connectors.connections import SYSTEMS
from connectors.mapping import SYSTEMS as NAMED
from connectors.salesforce import NAMES, PERCENT
from connectors.standins.company import running
from connectors.standins.hubspot import HubSpot
from features.ingestion import ingest
from features.lake import Lake
from features.settings import Settings

Command = Callable[..., tuple[int, str]]
FIELDS = ROOT / "connectors" / "sfdx" / "force-app" / "main" / "default"


@pytest.fixture
def hubspot() -> HubSpot:
    """Return HubSpot with three contacts."""
    hubspot = HubSpot(datetime.now(UTC))
    for number in range(1, 4):
        hubspot.put("contacts", str(number), NOW, email=f"p{number}@example.com")
    return hubspot


@pytest.fixture
def workspace(hubspot: HubSpot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a workspace that is connected to it over a real connection."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with running({"hubspot": hubspot}) as urls:
        (tmp_path / "touchstone.toml").write_text(f'[connectors.hubspot]\nbase_url = "{urls["hubspot"]}"\n')
        yield tmp_path


class Stored:
    """A workspace, as ``scored`` wants it."""

    def __init__(self, workspace: Path) -> None:
        self.lake, self.as_of = Lake(workspace / "lake"), datetime.now(UTC) - timedelta(minutes=1)


def test_a_connected_system_is_read_and_written_back(workspace: Path, hubspot: HubSpot, command: Command) -> None:
    status, printed = command("ingest", "hubspot", "--json", workspace=workspace)
    assert (status, sum(one["stored"] for one in json.loads(printed)["files"] if one["table"] == "leads")) == (0, 3)
    scored(Stored(workspace), {f"hubspot:{number}": 0.25 for number in range(1, 4)})  # type: ignore[arg-type]
    status, printed = command("sync", "--dry-run", "--json", workspace=workspace)
    (told,) = json.loads(printed)["systems"]
    assert (status, told["written"], len(told["changes"])) == (0, 0, 3)
    status, printed = command("sync", workspace=workspace)
    assert (status, printed) == (0, "hubspot: 3 written, 0 unchanged, 0 withheld, 0 refused\n")
    assert hubspot.objects["contacts"]["3"]["properties"]["ml_score_grade"] == "B"
    assert command("sync", "hubspot", "--quiet", workspace=workspace) == (4, "")


def test_what_is_partly_written_back_ends_with_5(workspace: Path, hubspot: HubSpot, command: Command) -> None:
    command("ingest", "hubspot", workspace=workspace)
    scored(Stored(workspace), {f"hubspot:{number}": 0.25 for number in range(1, 4)})  # type: ignore[arg-type]
    hubspot.switches.refused = {"2"}
    assert command("sync", "hubspot", workspace=workspace) == (
        5,
        """hubspot: 2 written, 0 unchanged, 0 withheld, 1 refused
  Validation rule: no scores
  connectors/hubspot/refused.jsonl names each; they are tried again next time.
""",
    )


def test_a_system_that_fails_keeps_no_other_waiting(workspace: Path, hubspot: HubSpot, command: Command) -> None:
    own = '[connectors.salesforce]\nbase_url = "http://127.0.0.1:1"\nleave_out = ["leeds"]\n'
    with (workspace / "touchstone.toml").open("a") as file:
        file.write(own)
    sentence = (
        "connectors.salesforce.leave_out names leeds, which salesforce does not have. It has leads, contacts, "
        "leadstages, opportunities, members, tasks, events, emails."
    )
    status, printed = command("ingest", "salesforce", "hubspot", workspace=workspace)
    assert (status, "hubspot-contacts.jsonl" in printed) == (2, True)
    assert command("ingest", "salesforce", workspace=workspace) == (2, f"ConfigError: {sentence}\n")
    hubspot.token = "another"  # noqa: S105
    status, printed = command("ingest", "salesforce", "hubspot", workspace=workspace)
    assert status == 1
    assert re.fullmatch(rf"TouchstoneError: {re.escape(sentence)} hubspot refused with 401, .*\n", printed)
    hubspot.token = "pat-standin"  # noqa: S105
    scored(Stored(workspace), {"hubspot:1": 0.25})  # type: ignore[arg-type]
    status, printed = command("sync", "pipedrive", "hubspot", workspace=workspace)
    assert (status, printed) == (2, "hubspot: 1 written, 0 unchanged, 0 withheld, 0 refused\n")


def test_nothing_new_is_said(workspace: Path, command: Command) -> None:
    command("ingest", "hubspot", workspace=workspace)
    assert command("ingest", "hubspot", workspace=workspace) == (4, "Nothing new came.\n")


def test_a_mapping_that_lacks_what_is_read_is_a_usage_error(workspace: Path, command: Command) -> None:
    ours = ROOT / "connectors" / "mappings" / "hubspot.toml"
    (workspace / "own.toml").write_text(re.sub(r"(?m)^(calls|deals) = .*$", "", ours.read_text()))
    with (workspace / "touchstone.toml").open("a") as file:
        file.write('mapping = "own.toml"\n')
    sentence = (
        f"The mapping {workspace / 'own.toml'} has no calls, deals under [read]. Take it from {ours}; a stream that is "
        "not to be read is named in connectors.hubspot.leave_out."
    )
    assert command("ingest", "hubspot", workspace=workspace) == (2, f"ConfigError: {sentence}\n")


def test_a_daily_limit_ends_with_5_and_says_what_came(workspace: Path, hubspot: HubSpot, command: Command) -> None:
    hubspot.switches.calls_a_day = 1
    status, printed = command("ingest", "hubspot", "--json", workspace=workspace)
    answer = json.loads(printed)
    assert (status, answer["files"][0]["stored"]) == (5, 3)
    assert answer["partly"].startswith("hubspot says that its calls for today are used up")


def test_a_system_without_a_connector_is_a_usage_error(workspace: Path, command: Command) -> None:
    status, printed = command("sync", "pipedrive", workspace=workspace)
    sentence = (
        'ConfigError: There is no connector to "pipedrive". Name one of hubspot, salesforce, marketo, mailchimp.\n'
    )
    assert (status, printed) == (2, sentence)


def test_nothing_to_write_back_is_said(tmp_path: Path, command: Command) -> None:
    sentence = "NothingToDo: No system was read yet. Give `touchstone ingest hubspot`, or name a system.\n"
    assert command("sync", workspace=tmp_path) == (4, sentence)


def test_a_secret_in_the_settings_is_a_usage_error_that_does_not_repeat_it(tmp_path: Path, command: Command) -> None:
    (tmp_path / "touchstone.toml").write_text('[connectors.hubspot]\ntoken = "canary-1f0a7c"\n')
    status, printed = command("check", workspace=tmp_path)
    assert (status, "connectors.hubspot.token" in printed, "canary" in printed) == (2, True, False)


def test_rows_of_a_system_that_were_refused_can_be_taken_again(
    workspace: Path, hubspot: HubSpot, command: Command
) -> None:
    hubspot.objects["contacts"]["2"]["createdAt"] = "soon"
    assert command("ingest", "hubspot", workspace=workspace)[0] == 3
    own = (ROOT / "connectors" / "mappings" / "hubspot.toml").read_text()
    mended = own.replace(
        'created_at = "created"', 'created_at = { sql = "coalesce(nullif(created, \'soon\'), \\"at\\")" }'
    )
    mended = mended.replace('greatest(\\"at\\", created)', '\\"at\\"')
    (workspace / "own.toml").write_text(mended)
    with (workspace / "touchstone.toml").open("a") as file:
        file.write('mapping = "own.toml"\n')
    status, printed = command("ingest", "--retry", "--json", workspace=workspace)
    assert (status, [one["stored"] for one in json.loads(printed)["files"]]) == (0, [1])


def test_every_system_has_a_mapping_a_page_and_settings() -> None:
    assert tuple(SYSTEMS) == NAMED
    for name, system in SYSTEMS.items():
        assert system.prefix == f"{name}:"
        assert (ROOT / "connectors" / "mappings" / f"{name}.toml").exists()
        assert f"touchstone ingest {name}" in (ROOT / "docs" / f"connect-{name}.md").read_text()
        assert hasattr(Settings().connectors, name)


@pytest.mark.parametrize("kind", ["Lead", "Contact"])
def test_the_fields_to_deploy_are_those_that_are_written(kind: str) -> None:
    deployed = {file.name.removesuffix(".field-meta.xml") for file in (FIELDS / "objects" / kind / "fields").iterdir()}
    assert deployed == {*NAMES.values(), PERCENT}
    allowed = ET.parse(FIELDS / "permissionsets" / "Touchstone.permissionset-meta.xml")  # noqa: S314  # ours
    space = "{http://soap.sforce.com/2006/04/metadata}"
    fields = {one.text for one in allowed.iter(f"{space}field")}
    assert {f"{kind}.{name}" for name in deployed} <= fields
    assert {one.text for one in allowed.iter(f"{space}modifyAllRecords")} == {"false"}


LANDED = {
    "contact_property_history.csv": "contact_id,name,value,timestamp\n1,jobtitle,Clerk,2026-01-02T00:00:00Z\n"
    "1,lifecyclestage,customer,2026-01-03T00:00:00Z\n1,hubspotscore,9,2026-01-03T00:00:00Z\n",
    "opportunity_history.csv": "contact_id,stage_name,amount,created_date,_fivetran_deleted\n"
    "003A,Closed Won,5.00,2026-01-04T00:00:00Z,false\n003A,Closed Lost,,2026-01-05T00:00:00Z,true\n",
    "email_events.jsonl": '{"id": "e1", "type": "CLICK", "recipient": "Ada@example.com", "created": 1767600000000}\n',
    "contacts.jsonl": '{"id": "1", "properties": {"email": "ada@example.com"}, "createdAt": "2026-01-01T00:00:00Z"}\n',
    "deal_stages.csv": "contact_id,value,timestamp\n1,closedwon,2026-01-06T00:00:00Z\n",
}


def test_tables_that_others_have_landed_are_read_by_the_mappings_of_the_page(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "connect-landed.md").read_text(), re.DOTALL)
    settings = Settings.model_validate(tomllib.loads("\n".join(blocks)))
    for name, content in LANDED.items():
        (tmp_path / name).write_text(content)
    lake = Lake(tmp_path / "lake")
    results = ingest(lake, settings, sorted(tmp_path / name for name in LANDED), NOW)
    assert [(one.file, one.refused, one.reasons) for one in results if one.refused] == []
    stages = lake.query("SELECT lead_id, stage FROM stages ORDER BY occurred_at").to_pylist()
    assert [tuple(row.values()) for row in stages] == [
        ("hubspot:1", "customer"), ("salesforce:003A", "won"), ("hubspot:1", "won"),
    ]  # fmt: skip
    touch = "SELECT kind FROM touches AS t SEMI JOIN identities AS i ON t.anonymous_id = i.email_hash"
    assert lake.query(touch).to_pylist() == [{"kind": "email_click"}]
    assert lake.query("SELECT attributes FROM leads").to_pylist() == [{"attributes": '{"jobtitle":"Clerk"}'}]
