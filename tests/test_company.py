"""The simulated company: plausible, repeatable, and never ahead of its moment."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulation import company as law
from simulation import names
from simulation.company import company, write

UNTIL = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return company(leads=800, days=360, until=UNTIL)


@pytest.fixture(scope="module")
def leads(tables: Tables) -> pd.DataFrame:
    """One row a lead, with when it was created and when it was won or lost."""
    closed = tables["stages"].pivot_table(index="lead_id", columns="stage", values="occurred_at", aggfunc="first")
    return tables["leads"].drop_duplicates("lead_id").set_index("lead_id").join(closed[["won", "lost"]])


@pytest.fixture(scope="module")
def touches(tables: Tables, leads: pd.DataFrame) -> pd.DataFrame:
    """Every touch beside what became of its lead."""
    return tables["touches"].join(leads[["created_at", "won", "lost"]], on="lead_id")


def times(tables: Tables) -> dict[str, pd.Series]:
    return {
        f"{name}.{column}": table[column]
        for name, table in tables.items()
        for column in table.columns
        if column.endswith("_at")
    }


def assert_same(some: Tables, others: Tables) -> None:
    for name in ("leads", "touches", "stages"):
        pd.testing.assert_frame_equal(some[name], others[name])


# The same company again


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(company(leads=50, until=UNTIL), tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_another_seed_is_another_company() -> None:
    seven, eight = (company(leads=50, until=UNTIL, seed=seed)["touches"] for seed in (7, 8))
    assert not seven.equals(eight)


def test_until_is_a_moment_whatever_its_time_zone() -> None:
    in_tokyo = UNTIL.astimezone(timezone(timedelta(hours=9)))
    assert_same(company(leads=50, until=UNTIL), company(leads=50, until=in_tokyo))


def test_until_without_a_time_zone_is_refused() -> None:
    sentence = "until is 2026-11-20T14:30:00 without a time zone; pass one, such as tzinfo=UTC."
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        company(leads=50, until=UNTIL.replace(tzinfo=None))


def test_an_earlier_hour_of_the_day_knows_less_and_nothing_else(tables: Tables) -> None:
    noon = UNTIL.replace(hour=12, minute=0)
    at_noon = {
        name: table[(table.filter(like="_at") < noon).all(axis="columns")].reset_index(drop=True)
        for name, table in tables.items()
    }
    assert_same(company(leads=800, days=360, until=noon), at_noon)


# The tables


def test_tables_have_the_columns_of_the_contract(tables: Tables) -> None:
    assert {name: " ".join(table.columns) for name, table in tables.items()} == {
        "leads": "lead_id created_at observed_at name email company industry company_size seniority country source",
        "touches": "event_id lead_id occurred_at received_at kind channel campaign",
        "stages": "lead_id stage occurred_at received_at amount currency reason",
    }


def test_there_are_as_many_leads_as_asked_for(leads: pd.DataFrame) -> None:
    assert (len(leads), leads.index.min(), leads.index.max()) == (800, "L-00001", "L-00800")


def test_leads_are_numbered_in_the_order_of_their_creation(leads: pd.DataFrame) -> None:
    assert leads.sort_index()["created_at"].is_monotonic_increasing


def test_a_company_of_one_lead_and_one_day_is_possible() -> None:
    assert company(leads=1, days=1, until=UNTIL)["leads"]["lead_id"].unique().tolist() == ["L-00001"]


def test_every_time_is_utc_to_the_microsecond(tables: Tables) -> None:
    assert {str(column.dtype) for column in times(tables).values()} == {"datetime64[us, UTC]"}


def test_every_time_is_before_until(tables: Tables) -> None:
    assert [name for name, column in times(tables).items() if column.max() >= UNTIL] == []


def test_nothing_is_received_before_it_happened(tables: Tables) -> None:
    for name in ("touches", "stages"):
        assert (tables[name]["received_at"] >= tables[name]["occurred_at"]).all()


def test_every_touch_and_stage_belongs_to_a_lead(tables: Tables, leads: pd.DataFrame) -> None:
    assert set(tables["touches"]["lead_id"]) | set(tables["stages"]["lead_id"]) <= set(leads.index)


def test_event_ids_are_unique(tables: Tables) -> None:
    assert tables["touches"]["event_id"].is_unique


def test_kinds_channels_and_campaigns_are_the_declared_ones(tables: Tables) -> None:
    touches = tables["touches"]
    assert set(touches["kind"]) == {*law.KIND, "form_fill"}
    assert set(touches["channel"]) == set(law.CHANNEL) == set(law.TRAITS["source"])
    assert set(touches.loc[touches["campaign"].notna(), "channel"]) == set(names.CAMPAIGNS)


def test_shares_sum_to_one() -> None:
    shares = [sum(share for share, _ in values.values()) for values in law.TRAITS.values()]
    shares += [sum(column) for column in zip(*law.REASONS.values(), strict=True)]
    assert shares == pytest.approx([1] * 6)


# What is known of a lead


def test_ten_to_thirty_percent_of_each_attribute_is_missing(tables: Tables) -> None:
    missing = tables["leads"][["industry", "company_size", "seniority", "country"]].isna().mean()
    assert missing.between(0.1, 0.3).all()


def test_a_later_version_adds_the_size_of_the_company_and_changes_nothing_else(tables: Tables) -> None:
    first = tables["leads"].drop_duplicates("lead_id").set_index("lead_id")
    later = tables["leads"][tables["leads"]["lead_id"].duplicated()].set_index("lead_id")
    before = first.loc[later.index]
    assert len(later) > 40
    assert before["company_size"].isna().all()
    assert later["company_size"].notna().all()
    assert (later["observed_at"] - before["observed_at"]).between("1D", "15D").all()
    added = ["company_size", "observed_at"]
    pd.testing.assert_frame_equal(before.drop(columns=added), later.drop(columns=added))


def test_a_lead_is_first_observed_when_it_is_created(leads: pd.DataFrame) -> None:
    assert (leads["observed_at"] == leads["created_at"]).all()


# What leads do


def test_every_lead_is_created_by_a_touch_of_its_source(touches: pd.DataFrame, leads: pd.DataFrame) -> None:
    opening = touches[touches["occurred_at"] == touches["created_at"]].set_index("lead_id")["channel"]
    assert opening.sort_index().to_dict() == leads["source"].to_dict()


def test_most_leads_are_created_by_a_form_some_by_a_webinar_or_a_call(touches: pd.DataFrame) -> None:
    opening = touches[touches["occurred_at"] == touches["created_at"]].set_index("channel")["kind"]
    assert set(opening["Events"]) == {"webinar_attended"}
    assert set(opening["Sales outreach"]) == {"sales_call"}
    assert set(opening.drop(["Events", "Sales outreach"])) == {"form_fill"}


def test_a_lead_prefers_the_channel_it_came_by(touches: pd.DataFrame, leads: pd.DataFrame) -> None:
    clicks = touches[touches["kind"] == "ad_click"]
    paid_search = clicks["channel"] == "Paid Search"
    came_by_it = clicks["lead_id"].map(leads["source"]) == "Paid Search"
    assert paid_search[came_by_it].mean() > 1.5 * paid_search[~came_by_it].mean()


def test_before_they_are_leads_they_only_look_around(touches: pd.DataFrame) -> None:
    early = touches[touches["occurred_at"] < touches["created_at"]]
    assert set(early["kind"]) == {"page_view", "pricing_view", "ad_click"}
    assert (early["created_at"] - early["occurred_at"]).max() < timedelta(days=law.PRELUDE + 1)


def test_touches_stop_within_days_of_the_close(touches: pd.DataFrame) -> None:
    after = touches["occurred_at"] - touches["won"].fillna(touches["lost"])
    assert timedelta(days=1) < after.max() < timedelta(days=law.LINGER + 1)


def test_monday_is_far_busier_than_sunday(touches: pd.DataFrame) -> None:
    days = touches["occurred_at"].dt.day_of_week.value_counts()
    assert days[0] > 5 * days[6]


def test_nine_of_ten_touches_happen_by_day(touches: pd.DataFrame) -> None:
    assert touches["occurred_at"].dt.hour.between(8, 18).mean() == pytest.approx(0.94, abs=0.01)


def test_two_percent_of_touches_arrive_hours_late(touches: pd.DataFrame) -> None:
    delay = touches["received_at"] - touches["occurred_at"]
    late = delay[delay > timedelta(0)]
    assert len(late) / len(touches) == pytest.approx(0.02, abs=0.005)
    assert late.between("1h", "12h").all()


def test_a_few_leads_are_touched_often_and_many_hardly_ever(touches: pd.DataFrame) -> None:
    each = touches.groupby("lead_id").size()
    assert 15 < each.mean() < 40
    assert each.quantile(0.2) <= 3
    assert each.quantile(0.99) > 5 * each.mean()


def test_retargeting_follows_those_who_looked_at_prices(touches: pd.DataFrame) -> None:
    first_price = touches[touches["kind"] == "pricing_view"].groupby("lead_id")["occurred_at"].min()
    retargeted = touches[(touches["kind"] == "ad_click") & (touches["channel"] == "Display")]
    assert (retargeted["occurred_at"] > retargeted["lead_id"].map(first_price)).all()


def test_retargeting_moves_nobody() -> None:
    assert law.WARMS[law.CHANNEL == "Display"].tolist() == [0]


# How leads end


def test_stages_come_in_their_order_and_not_twice(tables: Tables) -> None:
    order = tables["stages"]["stage"].map({stage: n for n, stage in enumerate(law.STAGES)})
    steps = order.groupby(tables["stages"]["lead_id"]).diff().dropna()
    assert (steps >= 1).all()


def test_a_stage_is_heard_of_before_the_next_one_happens(tables: Tables) -> None:
    stages = tables["stages"]
    following = stages.groupby("lead_id")["occurred_at"].shift(-1)
    assert (stages["received_at"] < following)[following.notna()].all()


def test_sales_moves_leads_in_office_hours(tables: Tables) -> None:
    assert tables["stages"]["occurred_at"].dt.hour.between(8, 18).all()


def test_a_stage_follows_the_creation_of_its_lead(tables: Tables, leads: pd.DataFrame) -> None:
    assert (tables["stages"]["occurred_at"] > tables["stages"]["lead_id"].map(leads["created_at"])).all()


def test_a_won_lead_has_passed_every_stage(tables: Tables) -> None:
    paths = tables["stages"].groupby("lead_id")["stage"].agg(" > ".join)
    assert set(paths[paths.str.endswith("won")]) == {"mql > sql > opportunity > won"}


def test_a_lead_can_be_lost_from_any_stage(tables: Tables) -> None:
    paths = tables["stages"].groupby("lead_id")["stage"].agg(" > ".join)
    lost = {"lost", "mql > lost", "mql > sql > lost", "mql > sql > opportunity > lost"}
    assert set(paths[paths.str.endswith("lost")]) == lost


def test_only_lost_leads_have_a_reason_and_each_has_one(tables: Tables) -> None:
    stages = tables["stages"]
    assert (stages["reason"].notna() == (stages["stage"] == "lost")).all()
    assert set(stages["reason"].dropna()) == set(law.REASONS)


def test_leads_are_out_of_reach_early_and_go_to_competitors_late(tables: Tables) -> None:
    stages = tables["stages"].set_index("lead_id")
    reasons = stages.query("stage == 'lost'")["reason"]
    is_late = reasons.index.isin(stages.query("stage == 'opportunity'").index)
    early, late = (reasons[each].value_counts(normalize=True) for each in (~is_late, is_late))
    assert early["unable to reach"] > 2 * late.get("unable to reach", 0)
    assert late["competitor"] > 2 * early.get("competitor", 0)


def test_an_eighth_wins_and_half_is_lost(leads: pd.DataFrame) -> None:
    assert leads["won"].notna().mean() == pytest.approx(0.125, abs=0.05)
    assert leads["lost"].notna().mean() == pytest.approx(0.5, abs=0.1)


def test_half_of_the_wins_come_within_weeks_and_some_after_months(leads: pd.DataFrame) -> None:
    days = (leads["won"] - leads["created_at"]).dt.total_seconds() / 86_400
    assert 12 < days.median() < 32
    assert 80 < days.quantile(0.9) < 220


def test_recent_leads_are_more_often_open(leads: pd.DataFrame) -> None:
    is_open = leads["won"].isna() & leads["lost"].isna()
    assert is_open.tail(80).mean() > 1.5 * is_open.head(80).mean()


def test_fewer_leads_stay_open_for_good_when_they_wake_up_often(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(wakes: float) -> int:
        monkeypatch.setattr(law, "WAKES", wakes)
        return company(leads=800, days=360, until=UNTIL)["stages"]["stage"].isin(["won", "lost"]).sum()

    assert 800 - closed(wakes=0.01) < 0.7 * (800 - closed(wakes=0))


def test_won_leads_asked_for_more_demos_than_lost_ones(touches: pd.DataFrame, leads: pd.DataFrame) -> None:
    demos = touches[touches["kind"] == "demo_request"].groupby("lead_id").size().reindex(leads.index, fill_value=0)
    assert demos[leads["won"].notna()].mean() > 4 * demos[leads["lost"].notna()].mean()


def test_leads_from_search_close_more_often_than_those_from_social_and_display(leads: pd.DataFrame) -> None:
    won = leads["won"].notna()
    search, weak = ["Organic Search", "Paid Search"], ["Paid Social", "Display"]
    assert won[leads["source"].isin(search)].mean() > 1.5 * won[leads["source"].isin(weak)].mean()


def test_fewer_deals_close_when_touches_leave_no_warmth(leads: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "WARMS", np.zeros(len(law.ACTIVITIES)))
    cold = company(leads=800, days=360, until=UNTIL)["stages"]
    assert (cold["stage"] == "won").sum() < 0.7 * leads["won"].notna().sum()


def test_deals_have_an_amount_in_euros_and_cents(tables: Tables) -> None:
    stages = tables["stages"]
    assert set(stages.loc[stages["amount"].notna(), "stage"]) == {"opportunity", "won"}
    assert stages.loc[stages["stage"] == "won", "amount"].notna().all()
    assert ((stages["currency"] == "EUR") == stages["amount"].notna()).all()
    assert (stages["amount"] == stages["amount"].round(2))[stages["amount"].notna()].all()


def test_a_deal_is_signed_for_no_more_than_was_hoped_and_no_less_than_three_quarters(tables: Tables) -> None:
    amounts = tables["stages"].pivot_table(index="lead_id", columns="stage", values="amount").dropna()
    assert (amounts["won"] / amounts["opportunity"]).between(0.749, 1.001).all()


def test_larger_companies_sign_larger_deals(tables: Tables, leads: pd.DataFrame) -> None:
    won = tables["stages"].query("stage == 'won'")
    deals = won.groupby(won["lead_id"].map(leads["company_size"]))["amount"].median()
    assert deals["1-10"] < deals["11-50"] < deals["51-200"] < deals["201-1000"]


# What is written


def test_written_times_are_iso_8601_in_utc(tables: Tables, tmp_path: Path) -> None:
    write(tables, tmp_path)
    for name in ("leads.csv", "stages.csv"):
        written = pd.read_csv(tmp_path / name, dtype=str).filter(like="_at")
        assert written.melt()["value"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


def test_what_is_written_reads_back_the_same(tables: Tables, tmp_path: Path) -> None:
    leads, touches, stages = write(tables, tmp_path)
    read = {
        "leads": pd.read_csv(leads, parse_dates=["created_at", "observed_at"]),
        "touches": pd.read_parquet(touches),
        "stages": pd.read_csv(stages, parse_dates=["occurred_at", "received_at"]),
    }
    assert_same(read, tables)


def test_only_the_three_whole_files_are_left_in_the_folder(tables: Tables, tmp_path: Path) -> None:
    paths = write(tables, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["leads.csv", "touches.parquet", "stages.csv"]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)


def test_a_write_that_fails_halfway_leaves_the_old_file_whole(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: pd.DataFrame, path: Path, **__: object) -> None:
        path.write_text("lead_id,crea")
        raise OSError("no space left on device")

    leads, *_ = write(tables, tmp_path)
    before = leads.read_bytes()
    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OSError, match="no space left on device"):
        write(tables, tmp_path)
    assert leads.read_bytes() == before
