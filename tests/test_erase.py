"""An erased person is nowhere, every channel has what it had, and nobody else lost or won a row."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import claim, merge, moment, stage, table, touch, version

from attribution import runs
from features import erasure
from features.contract import schema
from features.erasure import NOTE, erase
from features.errors import DataError, NothingToDo
from features.identities import touches_of_leads
from features.ingestion import ingest
from features.lake import Lake
from features.settings import Settings
from features.tombstones import KEPT, PREFIX, is_tombstone

MAIL = "ada.byron@x.org"
HASH = hashlib.sha256(MAIL.encode()).hexdigest()
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = Settings.model_validate({"attribution": {"models": ["first", "last", "linear", "time_decay"]}})
# Everything by which she is known, or that only she has.
TELLING = ("lead-ada", "lead-ida", MAIL, "Ada.Byron", HASH, "cookie-of-ada", "Byron & Daughters", "ref-ada", "she said")
Totals = dict[str, dict[str, tuple[float, object]]]


def filled(folder: Path) -> Lake:
    """Return a lake: Ada was anonymous, has a duplicate, Ida, and shares a tablet with Bob. Two runs, two scorings."""
    lake = Lake(folder)
    stages = [stage("lead-ida", 4, "won") | {"amount": 100, "reason": "she said"}, stage("lead-bob", 9, "won")]
    touches = [
        touch(None, 1, "page", "Search", anonymous="cookie-of-ada"),
        touch("lead-ada", 2, "click", "Email") | {"referrer": f"https://x.org/?m={MAIL.replace('@', '%40')}"},
        touch("lead-ida", 2, "click", "Events") | {"campaign": "ref-ada", "properties": json.dumps({"m": MAIL})},
        touch(None, 3, "page", "Partner", anonymous="tablet"),
        touch(None, 8, "page", "Direct", anonymous="tablet"),
        touch("lead-bob", 7, "open", "Email") | {"properties": json.dumps({"cc": f"Bo@y.org, {MAIL.upper()}"})},
        touch("lead-bob", 6, "open", "Social") | {"properties": json.dumps({"cc": f"my{MAIL}, {MAIL}.uk"})},
        touch(None, 5, "page", "Search", anonymous=HASH),
    ]
    versions = [
        version("lead-ada", 0, {"Mail": "Ada.Byron@x.org", "firm": "Byron & Daughters"}),
        version("lead-ada", 1, {"Mail": MAIL, "firm": "Byron & Daughters", "size": "large company"}),
        version("lead-ida", 1, created=1) | {"owner": "ref-ada"},
        version("lead-bob", 0, {"Mail": "bob@y.org", "size": "large company"}),
    ]
    known = [
        claim("cookie-of-ada", "lead-ada", 2), claim("tablet", "lead-ada", 2), claim("tablet", "lead-bob", 6),
        merge("lead-ida", "lead-ada", 5),
        claim(HASH, "lead-ada", 2) | {"anonymous_id": None, "email_hash": HASH},
    ]  # fmt: skip
    lake.append("stages", table("stages", [stage("lead-ada", 3, "demo")]))
    for name, rows in {"leads": versions, "touches": touches, "stages": stages, "identities": known}.items():
        stored = table(name, rows)
        for key in {"event_id", "row_hash"} & set(stored.column_names):
            hashed = [hashlib.sha256(repr(row).encode()).hexdigest() for row in rows]
            stored = stored.set_column(stored.column_names.index(key), key, pa.array(hashed))
        lake.append(name, stored)
    runs.store(lake, runs.attribute(lake, SETTINGS, NOW))
    runs.store(lake, runs.attribute(lake, SETTINGS, moment(6)))
    for lead in ("lead-ada", "lead-bob"):
        scored = {"lead_id": lead, "probability": 0.5, "reasons": json.dumps([lead])}
        lake.append("scores", pa.Table.from_pylist([scored], schema("scores")))
        lake.append("feedback", table("feedback", [{"lead_id": lead, "at": NOW, "verdict": "accepted"}]))
    refused = [
        json.dumps({"lead_id": "lead-ida", "x": 1}), f'"lead-ada",2026,{MAIL}', json.dumps({"who": MAIL.upper()}),
        json.dumps({"Contact": "cookie-of-ada"}), json.dumps({"lead_id": "lead-bob", "x": "lead-ada too"}),
        "lead-adam,1",
    ]  # fmt: skip
    lake.append("quarantine", pa.Table.from_pylist([{"row": r, "row_hash": r} for r in refused], schema("quarantine")))
    return lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("made") / "lake").folder


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    return Lake(Path(shutil.copytree(made, tmp_path / "lake")))


def texts(folder: Path) -> str:
    """Return everything that can be read in the files of a folder, packed or not, names of files included."""
    read = []
    for file in sorted(folder.rglob("*")):
        read.append(str(file.relative_to(folder)))
        if file.is_file():
            read.append(file.read_bytes().decode("latin-1"))
        if file.suffix == ".parquet":
            read.append(repr(pq.read_table(file).to_pylist()))
    return "\n".join(read)


def telling(folder: Path) -> list[str]:
    """Return which of Ada's names stand in a folder, apart from what is another's."""
    read = (
        texts(folder)
        .lower()
        .replace(f"my{MAIL}", "")
        .replace(f"{MAIL}.uk", "")
        .replace("lead-adam", "")
        .replace("lead-ada too", "")
    )
    return [name for name in TELLING if name.lower() in read]


def totals(lake: Lake) -> pd.DataFrame:
    """Return what each stored run gave each channel, and to how many touches of how many leads."""
    return lake.query(
        """SELECT run_id, model, channel, conversion, sum(credit) AS credit, sum(value) AS value, count(*) AS rows,
                  count(DISTINCT lead_id) AS leads, count(DISTINCT event_id) AS events
           FROM credits GROUP BY ALL ORDER BY ALL"""
    ).to_pandas()


def credited(lake: Lake, as_of: datetime = NOW) -> Totals:
    """Return what a run of now gives each channel, but for intervals, whose draws hang on the order of names."""
    models = runs.attribute(lake, SETTINGS, as_of).summary()["models"]
    return {
        model: {name: (round(row["credit"], 9), row["value"]) for name, row in channels.items()}
        for model, channels in models.items()
    }


def of_others(lake: Lake) -> dict[str, list[str]]:
    """Return the rows of everybody but Ada, apart from her address in Bob's text."""
    rows = {}
    for name in KEPT:
        who = {"quarantine": '"row"', "touches": "coalesce(lead_id, channel)"}.get(name, "lead_id")
        found = lake.query(f"SELECT * FROM {name} WHERE {who} SIMILAR TO '.*(bob|adam|Direct).*' ORDER BY ALL")
        rows[name] = [repr(row).replace(MAIL.upper(), "erased") for row in found.to_pylist()]
    return rows


@pytest.mark.parametrize("name", ["lead-ada", "lead-ida", MAIL, MAIL.upper(), HASH])
def test_by_whatever_name_an_erased_person_can_be_read_nowhere(lake: Lake, name: str) -> None:
    assert set(telling(lake.folder)) == set(TELLING)
    erase(lake, name)
    assert telling(lake.folder) == []


def test_every_channel_has_what_it_had(lake: Lake) -> None:
    before = totals(lake)
    erase(lake, "lead-ada")
    pd.testing.assert_frame_equal(totals(lake), before)
    assert len(before[before["run_id"] == before["run_id"][0]]) > len(SETTINGS.attribution.models)


@pytest.mark.parametrize("day", [3.5, 4.5, 6, 100])
def test_credit_that_is_given_again_is_what_it_was_as_of_every_moment(lake: Lake, day: float) -> None:
    before = credited(lake, moment(day))
    erase(lake, "lead-ada")
    assert credited(lake, moment(day)) == before


def test_all_others_keep_every_row(lake: Lake) -> None:
    before = of_others(lake)
    erase(lake, "lead-ada")
    assert of_others(lake) == before
    assert {name: len(rows) for name, rows in before.items()} == {
        "leads": 1, "touches": 3, "stages": 1, "identities": 1, "credits": 8, "feedback": 1, "scores": 1,
        "quarantine": 2,
    }  # fmt: skip


def test_of_another_s_text_only_the_address_is_erased(lake: Lake) -> None:
    erase(lake, "lead-ada")
    found = lake.query("SELECT properties FROM touches WHERE lead_id = 'lead-bob' ORDER BY channel")
    assert found["properties"].to_pylist() == ['{"cc": "Bo@y.org, erased"}', f'{{"cc": "my{MAIL}, {MAIL}.uk"}}']


def test_what_remains_has_times_and_channels_and_nothing_that_tells_who(lake: Lake) -> None:
    erase(lake, "lead-ada")
    (one, two) = lake.query(f"FROM leads WHERE lead_id LIKE '{PREFIX}%' ORDER BY lead_id").to_pylist()
    assert (one["created_at"], one["observed_at"], two["created_at"]) == (moment(0), moment(0), moment(1))
    assert [(row["account_id"], row["owner"], row["attributes"]) for row in (one, two)] == [(None, None, None)] * 2
    assert is_tombstone(one["lead_id"])
    touches = lake.query(f"FROM touches WHERE concat(lead_id, anonymous_id) LIKE '{PREFIX}%'").to_pylist()
    full = {"event_id", "occurred_at", "received_at", "kind", "channel", "machine"}
    assert {frozenset(k for k, v in row.items() if v is not None) - {"lead_id", "anonymous_id", "row_hash"}
            for row in touches} == {frozenset(full)}  # fmt: skip
    won = lake.query(f"FROM stages WHERE stage = 'won' AND lead_id LIKE '{PREFIX}%'").to_pylist()
    assert [(row["amount"], row["reason"]) for row in won] == [(100, None)]
    assert (
        lake.query("SELECT lead_id FROM scores UNION ALL SELECT lead_id FROM feedback").to_pylist()
        == [{"lead_id": "lead-bob"}] * 2
    )


def test_tombstones_are_random(made: Path, tmp_path: Path) -> None:
    names = []
    for folder in ("one", "two"):
        lake = Lake(Path(shutil.copytree(made, tmp_path / folder)))
        erase(lake, "lead-ada")
        names.append(lake.query(f"SELECT lead_id FROM leads WHERE lead_id LIKE '{PREFIX}%'")["lead_id"].to_pylist())
    assert not set(names[0]) & set(names[1])


def test_a_version_from_before_is_gone_and_its_number_is_never_another_s(lake: Lake) -> None:
    before = lake.versions()
    erase(lake, "lead-ada")
    after = lake.versions()
    assert all(after[name] > before[name] for name in before)
    for name in before:
        log = sorted(file.name[:20] for file in (lake.folder / name / "_delta_log").iterdir() if file.name[0] == "0")
        assert set(log) == {f"{after[name]:020}"}
        with pytest.raises(
            DataError, match=rf"^Version {before[name]} of {name} is gone, as an erasure or the age of "
        ):
            Lake(lake.folder, before).table(name)
    lake.append("stages", table("stages", [stage("lead-eve", 1, "won")]))
    assert lake.versions()["stages"] == after["stages"] + 1
    assert lake.query("SELECT 1 FROM stages").num_rows == 4


def test_a_second_person_is_erased_as_the_first(lake: Lake) -> None:
    before = totals(lake), credited(lake)
    erase(lake, "lead-ada")
    erase(lake, "bob@y.org")
    pd.testing.assert_frame_equal(totals(lake), before[0])
    assert credited(lake) == before[1]
    read = texts(lake.folder)
    assert [name for name in ("lead-bob", "bob@y.org", "tablet") if name in read] == []


def test_the_draft_of_a_note_that_a_killed_erasure_left_is_removed_by_the_next_whoever_s(lake: Lake) -> None:
    draft = lake.folder / f".{NOTE}.4711"
    draft.write_text(f'{{"lead_ids": ["lead-ada"], "emails": ["{MAIL}"', "utf-8")
    erase(lake, "lead-bob")
    assert not draft.exists()


def test_who_was_erased_is_not_erased_again(lake: Lake) -> None:
    erase(lake, "lead-ada")
    with pytest.raises(NothingToDo, match=rf'^"{MAIL}" was erased before; nothing is held under that name\.$'):
        erase(lake, MAIL)
    with pytest.raises(
        DataError, match=r'^Nobody is known as "eve" in .*lake\. Give a lead_id, or the e-mail address of a lead\.$'
    ):
        erase(lake, "eve")


def test_who_is_known_only_by_refused_rows_is_erased(lake: Lake) -> None:
    erase(lake, "lead-adam")
    assert "lead-adam" not in texts(lake.folder)


def test_an_address_that_other_leads_have_stays_theirs_unless_it_is_asked_for(lake: Lake) -> None:
    lake.append(
        "leads",
        table("leads", [version("lead-eve", 0, {"rep": "rep@we.org"}), version("lead-max", 0, {"rep": "rep@we.org"})]),
    )
    assert (erase(lake, "lead-eve").shared_emails, "rep@we.org" in texts(lake.folder)) == (("rep@we.org",), True)
    assert erase(lake, "rep@we.org").lead_ids == ("lead-max",)
    assert "rep@we.org" not in texts(lake.folder)


def test_ties_are_settled_as_they_were(tmp_path: Path) -> None:
    both = [stage("lead-ada", 5, "won") | {"amount": amount} for amount in (7, 9)]
    for low in ("7", "9"):  # of two wins at one moment the one whose hash sorts first counts, of two touches the event
        rows = [row | {"row_hash": f"{str(row['amount']) != low}", "received_at": moment(5)} for row in both]
        mine = Lake(tmp_path / low)
        mine.append("stages", pa.Table.from_pylist(rows, schema("stages")))
        events = {"Email": "x", "Search": "w"} if low == "7" else {"Email": "x", "Search": "y"}
        touches = [touch("lead-ada", 1, "k", name) | {"event_id": event} for name, event in events.items()]
        mine.append("touches", pa.Table.from_pylist(touches, schema("touches")))
        before = credited(mine)
        erase(mine, "lead-ada")
        assert credited(mine) == before
        assert before["first"]["Search" if low == "7" else "Email"] == (1, int(low))


people = st.sampled_from(["a", "b", "c"])
days, cookies, channels = st.integers(0, 3), st.sampled_from("xy"), st.sampled_from(["Email", "Search"])


@given(
    touches=st.lists(st.tuples(st.none() | people, days, channels, cookies), min_size=1, max_size=8),
    claims=st.lists(st.tuples(cookies, people, days), max_size=3),
    merges=st.lists(st.tuples(people, people, days), max_size=2),
    wins=st.lists(st.tuples(people, days, st.sampled_from(["won", "refund"]), st.integers(1, 3)), max_size=4),
    who=people,
)  # fmt: skip
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_whoever_is_erased_every_touch_has_the_lead_and_every_channel_the_credit_that_it_had(
    touches: list[tuple[str | None, int, str, str]],
    claims: list[tuple[str, str, int]],
    merges: list[tuple[str, str, int]],
    wins: list[tuple[str, int, str, int]],
    who: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lake = Lake(tmp_path_factory.mktemp("any") / "lake")
    rows = {
        "leads": [version(lead, 0) for lead in "abc"],
        "touches": [touch(w, d, f"k{i}", c, anonymous=a) for i, (w, d, c, a) in enumerate(touches)],
        "identities": [claim(*told) for told in claims] + [merge(*told) for told in merges],
        "stages": [stage(w, d, s) | {"amount": amount} for w, d, s, amount in wins],
    }
    for name, some in rows.items():
        lake.append(name, table(name, some))

    def seen() -> object:
        mine, merged = touches_of_leads(lake, 10**18)
        whose = mine.select(["kind", "channel", "occurred_at"]).sort_by("kind").to_pylist()
        try:
            return whose, len(merged), credited(lake)
        except DataError:
            return whose, len(merged)

    before = seen()
    erase(lake, who)
    assert seen() == before


class Killed(BaseException):
    """Nothing may catch it, as nothing can catch a kill."""


NEXT: dict[str, Callable[[Lake], object]] = {
    "erasure of the same": lambda lake: erase(lake, "lead-ada"),
    "erasure of another": lambda lake: erase(lake, "lead-bob"),
    "ingest": lambda lake: ingest(lake, Settings(), [], NOW),
}


@pytest.mark.parametrize(
    ("step", "following"),
    list(zip([0, 1, 2, 5, 10, 15], ["erasure of the same", "ingest", "erasure of another"] * 2, strict=True)),
)
def test_an_erasure_that_dies_after_any_step_is_completed_by_the_next_command(
    lake: Lake, step: int, following: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, given, others = totals(lake), credited(lake), of_others(lake)
    done = 0

    def dying(work: Callable[..., None]) -> Callable[..., None]:
        def run(*asked: object) -> None:
            nonlocal done
            if done == step:
                raise Killed
            done += 1
            work(*asked)

        return run

    monkeypatch.setattr(erasure, "bury", dying(erasure.bury))
    monkeypatch.setattr(erasure, "forget_versions", dying(erasure.forget_versions))
    with pytest.raises(Killed, match=r"^$"):
        erase(lake, "lead-ada")
    assert (lake.folder / NOTE).exists()
    monkeypatch.undo()
    assert of_others(lake) == others
    NEXT[following](lake)
    assert telling(lake.folder) == []
    assert not (lake.folder / NOTE).exists()
    pd.testing.assert_frame_equal(totals(lake), before)
    assert credited(lake) == given


def erase_when_told(folder: Path, pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()
    erase(Lake(folder), "lead-ada")
    pipe.send("done")


@pytest.mark.parametrize("kill", range(7))  # benchmarks/kills.py has fifty
def test_an_erasure_that_is_killed_at_any_moment_leaves_a_lake_that_opens_and_is_completed(
    lake: Lake, kill: int, seconds: list[float]
) -> None:
    before, others = totals(lake), of_others(lake)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["features.erasure"])
    ours, theirs = context.Pipe()
    process = context.Process(target=erase_when_told, args=(lake.folder, theirs))
    process.start()
    assert ours.recv() == "ready"
    start = time.monotonic()
    ours.send("go")
    if kill == 0:  # how long it takes
        assert ours.recv() == "done"
        seconds.append(time.monotonic() - start)
    else:
        time.sleep(seconds[0] * kill / 7)
    process.kill()
    process.join()
    assert of_others(lake) == others
    try:
        erase(lake, "lead-ada")
    except NothingToDo:
        assert not (lake.folder / NOTE).exists()
    assert telling(lake.folder) == []
    pd.testing.assert_frame_equal(totals(lake), before)


@pytest.fixture(scope="module")
def seconds() -> list[float]:
    return []


def test_who_was_erased_is_taken_in_no_more_and_nothing_of_such_rows_is_kept(lake: Lake, tmp_path: Path) -> None:
    erase(lake, "lead-ada")
    files = {
        "leads.csv": "lead_id,created_at,Mail,firm\nlead-ada,2026-01-01T00:00:00Z,,\n lead-ida ,,,\n"
        f"lead-new,2026-01-01T00:00:00Z, {MAIL.title()} ,\nlead-eve,2026-01-01T00:00:00Z,eve@x.org,\nlead-ada,x\n",
        "touches.csv": "lead_id,anonymous_id,occurred_at,kind,channel,m\n"
        f"lead-ada,,2026-01-01T00:00:00Z,k,c,\n,cookie-of-ada,2026-01-01T00:00:00Z,k,c,\n,{HASH},bad,k,c,\n"
        f",other,2026-01-01T00:00:00Z,k,c,{MAIL}\n,tablet,2026-01-01T00:00:00Z,k,c,\n",
        "identities.csv": "duplicate_id,email_hash,lead_id,observed_at\nlead-ida,,lead-eve,2026-01-01T00:00:00Z\n"
        f",{HASH},lead-eve,2026-01-01T00:00:00Z\nlead-eva,,lead-eve,2026-01-01T00:00:00Z\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    results = ingest(lake, Settings(), [tmp_path / name for name in files], NOW)
    sentence = "The row belongs to an erased person; nothing of it was kept."
    assert [(r.stored, r.refused, r.reasons) for r in results] == [
        (1, 4, (sentence,)), (1, 4, (sentence,)), (1, 2, (sentence,)),
    ]  # fmt: skip
    assert telling(lake.folder) == []
    assert lake.query("SELECT lead_id FROM leads WHERE lead_id LIKE 'lead-%' ORDER BY ALL")["lead_id"].to_pylist() == [
        "lead-bob", "lead-eve",
    ]  # fmt: skip


def test_before_anybody_was_erased_nobody_is_refused(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("lead_id,created_at\nlead-ida,2026-01-05T00:00:00Z\n")
    (result,) = ingest(lake, Settings(), [tmp_path / "leads.csv"], NOW)
    assert (result.stored, result.refused, (lake.folder / "erased.json").exists()) == (1, 0, False)
