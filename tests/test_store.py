"""A workspace that mirrors a store shows what the store holds, and what it writes is in the store first."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from tables import moment, table, touch, version

from features import lease as leases
from features.contract import schema
from features.erasure import erase
from features.errors import ConfigError, DataError
from features.lake import Lake
from features.lease import Lease, leased
from features.settings import Keeping
from features.store import Store, join, share, store_of, unshare
from features.upkeep import keep_up
from serving.scorer import promote, promoted
from serving.tokens import create, tokens

KEPT = Keeping.model_validate({"keep_versions_days": 1})


@pytest.fixture
def two(bucket: str, tmp_path: Path) -> tuple[Path, Path]:
    """Return two workspaces that mirror one store."""
    for name in ("a", "b"):
        join(tmp_path / name, bucket)
    return tmp_path / "a", tmp_path / "b"


def lake_in(workspace: Path) -> Lake:
    return Lake(workspace / "lake")


def opened(workspace: Path) -> Store:
    store = store_of(workspace)
    assert store
    return store


def ids(lake: Lake) -> list[str]:
    return lake.query("SELECT event_id FROM touches ORDER BY occurred_at")["event_id"].to_pylist()


def stored(lake: Lake, *days: float) -> None:
    rows = table("touches", [touch("ada", day) for day in days])
    with lake.writing():
        lake.append("touches", rows.set_column(0, "event_id", pa.array([f"day {day:g}" for day in days])))


def test_a_workspace_of_its_own_mirrors_nothing(tmp_path: Path) -> None:
    assert store_of(tmp_path) is None
    assert lake_in(tmp_path).store is None


def test_what_one_stores_the_other_reads(two: tuple[Path, Path]) -> None:
    one, other = map(lake_in, two)
    stored(one, 1)
    assert ids(other) == []
    opened(two[1]).follow()
    assert ids(other) == ["day 1"]
    stored(other, 2)
    opened(two[0]).follow()
    assert ids(one) == ids(other) == ["day 1", "day 2"]
    assert one.versions() == other.versions()


def test_who_writes_knows_first_what_others_have_written(two: tuple[Path, Path]) -> None:
    one, other = map(lake_in, two)
    stored(one, 1)
    with other.writing():
        assert ids(other) == ["day 1"]


def test_the_store_holds_tables_that_any_engine_reads(two: tuple[Path, Path]) -> None:
    stored(lake_in(two[0]), 1, 2)
    found = DeltaTable(opened(two[0]).table("touches"))
    assert found.schema().to_arrow().names == schema("touches").names  # type: ignore[attr-defined]
    assert sum(found.get_add_actions(flatten=True)["num_records"].to_pylist()) == 2


def test_a_look_at_a_store_that_did_not_change_is_one_request(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = opened(two[1]), []
    store.follow()
    read = store.read
    monkeypatch.setattr(store, "read", lambda path: asked.append(path) or read(path))
    monkeypatch.setattr(store, "listed", lambda *_: pytest.fail("it lists"))
    store.follow()
    assert asked == ["changed"]


def test_the_models_of_further_goals_are_the_team_s_with_what_serves_of_each(bucket: str, tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    room = one / "goals" / "renewed"
    for name in ("first", "second"):
        (room / "models" / name).mkdir(parents=True)
    for path in ("models/first/spec.json", "models/champion.json", "mlflow.db"):
        share(room / path, "first")
    assert join(one, bucket)
    assert not join(other, bucket)
    mirrored = sorted(file.relative_to(other).as_posix() for file in (other / "goals").rglob("*") if file.is_file())
    assert mirrored == ["goals/renewed/models/champion.json", "goals/renewed/models/first/spec.json"]
    for path in ("models/second/spec.json", "models/champion.json"):
        share(room / path, "second")
    opened(other).follow()
    for path in ("models/second/spec.json", "models/champion.json"):
        assert (other / "goals" / "renewed" / path).read_text() == "second"


def test_data_is_fetched_when_it_is_read_and_only_once(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stored(lake_in(two[0]), 1)
    opened(two[1]).follow()
    folder = two[1] / "lake" / "touches"
    assert list(folder.glob("*.parquet")) == []
    other = lake_in(two[1])
    assert ids(other) == ["day 1"]
    assert len(list(folder.glob("*.parquet"))) == 1
    monkeypatch.setattr(store_of(two[1]), "read", lambda path: pytest.fail(f"{path} is read again"))
    assert ids(lake_in(two[1])) == ["day 1"]


def test_a_mirror_of_a_table_with_checkpoints_is_whole(two: tuple[Path, Path]) -> None:
    one = lake_in(two[0])
    stored(one, 1)
    DeltaTable(opened(two[0]).table("touches")).create_checkpoint()
    stored(one, 2)
    opened(two[1]).follow()
    log = two[1] / "lake" / "touches" / "_delta_log"
    assert (log / "_last_checkpoint").exists()
    assert ids(lake_in(two[1])) == ["day 1", "day 2"]


def test_a_checkpoint_that_is_made_after_its_version_was_mirrored_is_mirrored_too(two: tuple[Path, Path]) -> None:
    one = lake_in(two[0])
    stored(one, 1)
    stored(one, 2)
    opened(two[1]).follow()
    DeltaTable(opened(two[0]).table("touches")).create_checkpoint()
    opened(two[0]).tell()
    opened(two[1]).follow()
    assert (two[1] / "lake" / "touches" / "_delta_log" / "_last_checkpoint").exists()


def test_upkeep_removes_old_files_from_the_store_and_from_the_mirror(two: tuple[Path, Path]) -> None:
    one = lake_in(two[0])
    stored(one, 1)
    first = next((two[0] / "lake" / "touches").glob("*.parquet"))
    with one.writing():
        one.replace("touches", one.parts("touches"), table("touches", [touch("ada", 2)]))
        one.remove_old_files("touches", 0)
    assert not first.exists()
    assert f"lake/touches/{first.name}" not in opened(two[0]).listed("lake/touches")
    opened(two[1]).follow()
    assert len(ids(lake_in(two[1]))) == 1
    keep_up(one, "touches", KEPT, moment(9))


def test_an_erased_person_is_gone_from_the_store_and_from_every_mirror(two: tuple[Path, Path]) -> None:
    one, other = map(lake_in, two)
    with one.writing():
        one.append("leads", table("leads", [version("ada-7781", 0), version("bob", 0)]))
    stored(one, 1)
    opened(two[1]).follow()
    assert len(other.read("leads", ["lead_id"])) == 2
    erase(one, "ada-7781")
    opened(two[1]).follow()
    assert "ada-7781" not in other.read("leads", ["lead_id"])["lead_id"].to_pylist()
    store = opened(two[0])
    objects = {path: store.read(path) or b"" for path in store.listed("")}
    mirrored = {str(file): file.read_bytes() for file in two[1].rglob("*") if file.is_file()}
    assert [path for path, content in {**objects, **mirrored}.items() if b"ada-7781" in content] == []
    assert not (two[1] / "lake" / "erasing.json").exists()


def test_an_interrupted_erasure_is_known_to_all_who_could_complete_it(two: tuple[Path, Path]) -> None:
    note = two[0] / "lake" / "erasing.json"
    note.parent.mkdir(exist_ok=True)
    share(note, "{}")
    opened(two[1]).follow()
    assert (two[1] / "lake" / "erasing.json").read_text() == "{}"
    unshare(note)
    opened(two[1]).follow()
    assert not (two[1] / "lake" / "erasing.json").exists()


def test_models_come_before_the_pointer_that_names_them(two: tuple[Path, Path]) -> None:
    model = two[0] / "models" / "abc" / "spec.json"
    model.parent.mkdir(parents=True)
    share(model, "one")
    promote(two[0] / "models", "abc")
    opened(two[1]).follow()
    assert promoted(two[1] / "models") == ["abc"]
    assert (two[1] / "models" / "abc" / "spec.json").read_text() == "one"


def test_tokens_are_the_whole_team_s(two: tuple[Path, Path]) -> None:
    create(two[0], "crm", ["score"], moment(1))
    opened(two[1]).follow()
    assert [token.name for token in tokens(two[1])] == ["crm"]


def test_the_first_to_join_brings_what_it_has(bucket: str, tmp_path: Path) -> None:
    stored(lake_in(tmp_path / "a"), 1, 2)
    promote_in = tmp_path / "a" / "models" / "abc"
    promote_in.mkdir(parents=True)
    (promote_in / "spec.json").write_text("one")
    promote(tmp_path / "a" / "models", "abc")
    assert join(tmp_path / "a", bucket)
    assert not join(tmp_path / "b", bucket)
    assert not join(tmp_path / "b", f"{bucket}/")  # again changes nothing
    assert ids(lake_in(tmp_path / "b")) == ["day 1", "day 2"]
    assert promoted(tmp_path / "b" / "models") == ["abc"]
    assert json.loads((tmp_path / "b" / "store.json").read_text()) == {"uri": bucket}


def test_two_lakes_do_not_become_one(bucket: str, tmp_path: Path) -> None:
    stored(lake_in(tmp_path / "a"), 1)
    stored(lake_in(tmp_path / "b"), 2)
    join(tmp_path / "a", bucket)
    with pytest.raises(
        ConfigError,
        match=r"b and s3://.* both hold a lake or models\. Join with an empty --workspace, or name a store that is "
        r"empty\. Nothing was changed\.$",
    ):
        join(tmp_path / "b", bucket)
    assert ids(lake_in(tmp_path / "b")) == ["day 2"]
    assert not (tmp_path / "b" / "store.json").exists()


def test_a_mirror_of_one_store_joins_no_other(two: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"is a mirror of s3://.* already\. Give another --workspace\.$"):
        join(two[0], "s3://elsewhere/touchstone")


def test_what_is_no_address_is_said_to_be_none(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    with pytest.raises(ConfigError, match=r"^nowhere is no address of a store: .* Give one like s3://bucket/touch"):
        join(tmp_path, "nowhere")


def test_a_store_that_does_not_answer_is_a_sentence_and_nothing_is_stored(
    two: tuple[Path, Path], s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened(two[0]), "objects", gone(two[0], monkeypatch))
    with pytest.raises(DataError, match=r"^The store s3://.* does not answer as it should: .* nothing was changed by "):
        stored(lake_in(two[0]), 1)
    assert httpx.get(f"{s3}/moto-api/", trust_env=False).status_code == 200
    assert list((two[0] / "lake").rglob("*.parquet")) == []


def gone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the store as one sees it whose network is cut."""
    from obstore.store import S3Store

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    return S3Store.from_url(opened(workspace).uri, retry_config={"max_retries": 0})


# The lease


def test_of_two_who_want_to_write_one_waits(two: tuple[Path, Path]) -> None:
    said: list[str] = []

    def second() -> None:
        with leased(opened(two[1])):
            said.append("second")

    with leased(opened(two[0])):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.5)
        said.append("first")
    waiting.join(5)
    assert said == ["first", "second"]
    assert opened(two[0]).tag(leases.PATH) is None


def test_who_was_killed_holds_nobody_up_for_long(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    killed = Lease(opened(two[0]))
    assert killed.take(None)  # and never renews
    monkeypatch.setattr(leases, "LASTS", 0.5)
    begun = time.monotonic()
    with leased(opened(two[1])):
        assert 0.5 < time.monotonic() - begun < 5


def test_who_was_stopped_for_too_long_commits_nothing(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, rows = lake_in(two[0]), table("touches", [touch("ada", 1)])
    stored(one, 1)
    before = opened(two[0]).listed("lake/touches/_delta_log")
    with one.writing():
        monkeypatch.setattr(leases, "LASTS", 0.0)
        with pytest.raises(DataError, match=r"^This machine did not reach the store s3://.* for 0 seconds, so another"):
            one.append("touches", rows)
    assert opened(two[0]).listed("lake/touches/_delta_log") == before


def test_a_lease_that_was_taken_over_is_lost(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    with leased(opened(two[0])) as held:
        held.check()
        tag = opened(two[1]).tag(leases.PATH)
        while not opened(two[1]).exchange(leases.PATH, b"taken over", tag):
            tag = opened(two[1]).tag(leases.PATH)  # it was renewed meanwhile
        held.renewing.join(5)
        with pytest.raises(DataError, match=r"so another may write there now\. What was being written is not in\."):
            held.check()
    assert opened(two[1]).tag(leases.PATH) is not None  # it is the other's


def test_a_lease_is_renewed_while_it_is_held(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    monkeypatch.setattr(leases, "LASTS", 0.4)
    with leased(opened(two[0])) as held:
        time.sleep(0.8)
        held.check()
