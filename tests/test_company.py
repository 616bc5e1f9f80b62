"""The simulated company: plausible, repeatable, and never ahead of its moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import pytest

from features.contract import TABLES
from features.ingestion import files_in, ingest
from features.lake import Lake
from features.settings import Settings
from simulation import company as simulated
from simulation import names, people, records
from simulation.company import Company, parts, tables
from simulation.files import write
from simulation.law import CHANNELS, KINDS, World
from simulation.troubles import Troubles

UNTIL = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
Tables = dict[str, pd.DataFrame]


def small(**settings: object) -> Tables:
    return tables(Company(UNTIL, **{"leads": 60, "days": 120, **settings}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def known() -> Tables:
    return tables(Company(UNTIL, leads=2_000, days=360, world=World(harvest=0.5)))


@pytest.fixture(scope="module")
def leads(known: Tables) -> pd.DataFrame:
    """One row a lead, with when it was created and when it was won or lost."""
    closed = known["stages"].pivot_table(index="lead_id", columns="stage", values="occurred_at", aggfunc="first")
    return known["leads"].drop_duplicates("lead_id").set_index("lead_id").join(closed[["won", "lost"]])


@pytest.fixture(scope="module")
def touches(known: Tables, leads: pd.DataFrame) -> pd.DataFrame:
    """Every touch of a lead, its anonymous ones too, beside what became of the lead."""
    who = known["touches"]["anonymous_id"].map(known["identities"].set_index("anonymous_id")["lead_id"])
    mine = known["touches"].assign(lead_id=known["touches"]["lead_id"].fillna(who))
    return mine.join(leads[["created_at", "won", "lost"]], on="lead_id").dropna(subset="lead_id")


def times(known: Tables) -> dict[str, pd.Series]:
    return {
        f"{name}.{column}": table[column]
        for name, table in known.items()
        for column in table.select_dtypes("datetimetz")
    }


def assert_same(some: Tables, others: Tables) -> None:
    for name in some:
        pd.testing.assert_frame_equal(some[name], others[name])


# The same company again


def test_the_same_company_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(Company(UNTIL, leads=50, days=90), tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_another_seed_is_another_company() -> None:
    assert not small(seed=7)["touches"].equals(small(seed=8)["touches"])


def test_until_is_a_moment_whatever_its_time_zone() -> None:
    in_tokyo = UNTIL.astimezone(timezone(timedelta(hours=9)))
    assert_same(small(), tables(Company(in_tokyo, leads=60, days=120)))


def test_until_without_a_time_zone_is_refused() -> None:
    sentence = "until is 2026-11-20T14:30:00 without a time zone; pass one, such as tzinfo=UTC."
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Company(UNTIL.replace(tzinfo=None))


def test_an_earlier_hour_of_the_day_knows_less_and_nothing_else() -> None:
    noon = UNTIL.replace(hour=12, minute=0)
    later, earlier = small(), tables(Company(noon, leads=60, days=120))
    for name in ("leads", "touches", "stages", "identities", "feedback"):
        before = (later[name].select_dtypes("datetimetz") < noon).all(axis="columns")
        pd.testing.assert_frame_equal(later[name][before].reset_index(drop=True), earlier[name])


# The tables


def test_tables_have_the_columns_of_the_contract_and_some_more(known: Tables) -> None:
    more = {
        "leads": {
            "name",
            "email",
            "company",
            "industry",
            "company_size",
            "seniority",
            "country",
            "source",
            "landing_page",
        },
        "touches": {"page"},
    }
    for name, table in known.items():
        ours = {column.name for column in TABLES[name].columns}
        assert set(table.columns) - ours == more.get(name, set())
        assert {column.name for column in TABLES[name].columns if column.required} <= set(table.columns)


def test_there_are_as_many_leads_as_asked_for(leads: pd.DataFrame) -> None:
    assert (len(leads), leads.index.min(), leads.index.max()) == (2_000, "L-00001", "L-02000")


def test_a_company_of_one_lead_and_one_day_is_possible() -> None:
    assert small(leads=1, days=1)["leads"]["lead_id"].unique().tolist() == ["L-00001"]


def test_every_time_is_utc_to_the_microsecond_and_before_until(known: Tables) -> None:
    assert {str(column.dtype) for column in times(known).values()} == {"datetime64[us, UTC]"}
    assert [name for name, column in times(known).items() if column.max() >= UNTIL] == []


def test_nothing_is_received_before_it_happened(known: Tables) -> None:
    for name in ("touches", "stages"):
        assert (known[name]["received_at"] >= known[name]["occurred_at"]).all()


def test_event_ids_are_unique(known: Tables) -> None:
    assert known["touches"]["event_id"].is_unique


def test_kinds_channels_and_campaigns_are_the_declared_ones(known: Tables) -> None:
    touches = known["touches"]
    assert set(touches["kind"]) == {*KINDS, "form_fill"} - {"rejection"}
    assert set(touches["channel"]) == {*CHANNELS} - {""} == set(names.CHANNELS)
    campaigns = {row[0] for rows in names.CAMPAIGNS.values() for row in rows}
    assert set(touches["campaign"].dropna()) == campaigns - {None}


def test_shares_sum_to_one() -> None:
    shares = [sum(trait.share for trait in values.values()) for values in people.ATTRIBUTES.values()]
    shares += [sum(column) for column in zip(*records.REASONS.values(), strict=True)]
    assert shares == pytest.approx([1] * 8)


def test_accounts_have_several_contacts_who_share_what_is_known_of_the_account(known: Tables) -> None:
    first = known["leads"].drop_duplicates("lead_id")
    contacts = first.groupby("account_id")
    assert (contacts.size() > 1).mean() > 0.4
    assert contacts[["company", "industry", "country"]].nunique().max().max() == 1


# What is known of a lead


def test_ten_to_thirty_percent_of_each_attribute_is_missing(leads: pd.DataFrame) -> None:
    missing = leads[["industry", "company_size", "seniority", "country", "landing_page"]].isna().mean()
    assert missing.between(0.08, 0.3).all()


def test_a_later_version_adds_the_size_of_the_company_and_changes_nothing_else(known: Tables) -> None:
    first = known["leads"].drop_duplicates("lead_id").set_index("lead_id")
    later = known["leads"][known["leads"]["lead_id"].duplicated()].set_index("lead_id")
    before = first.loc[later.index]
    assert len(later) > 100
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


def test_a_lead_is_anonymous_until_it_is_one(known: Tables, leads: pd.DataFrame) -> None:
    touches, identities = known["touches"], known["identities"].set_index("anonymous_id")
    assert (touches["lead_id"].isna() == touches["anonymous_id"].notna()).all()
    assert (identities["observed_at"] == identities["lead_id"].map(leads["created_at"])).all()
    seen = touches["anonymous_id"].map(identities["observed_at"])
    assert (touches["occurred_at"] < seen)[seen.notna()].all()
    never = touches["anonymous_id"].dropna().loc[lambda who: ~who.isin(identities.index)]
    assert never.nunique() > 0.1 * len(leads)
    assert (touches["occurred_at"] >= touches["lead_id"].map(leads["created_at"]))[touches["lead_id"].notna()].all()


def test_before_they_are_leads_they_only_look_around(touches: pd.DataFrame) -> None:
    early = touches[touches["occurred_at"] < touches["created_at"]]
    looking = {"page_view", "pricing_view", "ad_click", "organic_visit", "referral_visit", "assistant_visit"}
    assert set(early["kind"]) == looking
    assert (early["created_at"] - early["occurred_at"]).max() < timedelta(days=people.PRELUDE + 1)


def test_nothing_reaches_a_lead_after_its_end(touches: pd.DataFrame) -> None:
    assert (touches["occurred_at"] < touches["won"].fillna(touches["lost"]).fillna(UNTIL)).all()


def test_the_week_and_the_day_have_the_measured_rhythm(known: Tables) -> None:
    touches = known["touches"].drop_duplicates(["anonymous_id", "lead_id", "kind", "occurred_at"])
    week = touches["occurred_at"].dt.day_of_week.value_counts(normalize=True).sort_index()
    assert week.tolist() == pytest.approx([0.209, 0.19, 0.18, 0.17, 0.155, 0.079, 0.017], abs=0.035)
    assert touches["occurred_at"].dt.hour.between(8, 18).mean() == pytest.approx(0.94, abs=0.01)


def test_a_few_leads_visit_often_and_a_quarter_never(touches: pd.DataFrame, leads: pd.DataFrame) -> None:
    """Measured of real leads: 24 % no visit, mean 3.4, nine in ten at most 7, 99 in 100 at most 17."""
    by_lead = touches[touches["kind"].isin(["page_view", "pricing_view"])]
    gaps = by_lead.sort_values("occurred_at").groupby("lead_id")["occurred_at"].diff()
    visits = (gaps.isna() | (gaps > timedelta(minutes=5))).groupby(by_lead["lead_id"]).sum()
    visits = visits.reindex(leads.index, fill_value=0)
    assert (visits == 0).mean() == pytest.approx(0.24, abs=0.06)
    assert visits.mean() == pytest.approx(3.4, abs=1)
    assert visits.quantile(0.9) == pytest.approx(7, abs=3)
    assert visits.quantile(0.99) == pytest.approx(17, abs=8)


def test_two_percent_of_touches_arrive_hours_late(known: Tables) -> None:
    delay = known["touches"]["received_at"] - known["touches"]["occurred_at"]
    late = delay[delay > timedelta(0)]
    assert len(late) / len(delay) == pytest.approx(0.02, abs=0.003)
    assert late.between("1h", "12h").all()


# How leads end


def test_stages_come_in_their_order_and_not_twice(known: Tables) -> None:
    order = known["stages"]["stage"].map(
        {stage: n for n, stage in enumerate(["mql", "sql", "opportunity", "won", "lost"])}
    )
    steps = order.groupby(known["stages"]["lead_id"]).diff().dropna()
    assert (steps >= 1).all()


def test_a_stage_follows_the_creation_of_its_lead(known: Tables, leads: pd.DataFrame) -> None:
    assert (known["stages"]["occurred_at"] > known["stages"]["lead_id"].map(leads["created_at"])).all()


def test_a_won_lead_has_passed_every_stage(known: Tables) -> None:
    paths = known["stages"].groupby("lead_id")["stage"].agg(" > ".join)
    assert set(paths[paths.str.endswith("won")]) == {"mql > sql > opportunity > won"}


def test_a_lead_can_be_lost_from_any_stage_and_only_on_a_friday(known: Tables) -> None:
    paths = known["stages"].groupby("lead_id")["stage"].agg(" > ".join)
    lost = {"lost", "mql > lost", "mql > sql > lost", "mql > sql > opportunity > lost"}
    assert set(paths[paths.str.endswith("lost")]) == lost
    assert set(known["stages"].query("stage == 'lost'")["occurred_at"].dt.day_name()) == {"Friday"}


def test_only_lost_leads_have_a_reason_and_each_has_one(known: Tables) -> None:
    stages = known["stages"]
    assert (stages["reason"].notna() == (stages["stage"] == "lost")).all()
    assert set(stages["reason"].dropna()) == set(records.REASONS)


def test_leads_are_out_of_reach_early_and_go_to_competitors_late(known: Tables) -> None:
    stages = known["stages"].set_index("lead_id")
    reasons = stages.query("stage == 'lost'")["reason"]
    is_late = reasons.index.isin(stages.query("stage == 'opportunity'").index)
    early, late = (reasons[each].value_counts(normalize=True) for each in (~is_late, is_late))
    assert early["unable to reach"] > 2 * late.get("unable to reach", 0)
    assert late["competitor"] > 2 * early.get("competitor", 0)


def test_the_time_to_close_is_as_measured(leads: pd.DataFrame) -> None:
    """Measured: one in ten closes; median 15 days, nine in ten within 163; here seen for at most a year."""
    days = (leads["won"] - leads["created_at"]).dt.total_seconds() / 86_400
    assert leads["won"].notna().mean() == pytest.approx(0.11, abs=0.03)
    assert days.median() == pytest.approx(15, abs=6)
    assert 70 < days.quantile(0.9) < 200
    assert 2 < np.log(days).mean() < 3.2


def test_leads_from_search_close_more_often_than_those_from_social_and_mail(leads: pd.DataFrame) -> None:
    won = leads["won"].notna()
    search, weak = ["Organic Search", "Paid Search"], ["Paid Social", "Email"]
    assert won[leads["source"].isin(search)].mean() > 1.5 * won[leads["source"].isin(weak)].mean()


def test_a_brand_ad_that_harvests_is_clicked_on_the_day_of_signing(touches: pd.DataFrame) -> None:
    harvest = touches[touches["won"].notna() & (touches["channel"] == "Brand Search")]
    before = harvest["won"] - harvest["occurred_at"]
    assert (before < timedelta(hours=1)).mean() > 0.5


def test_reps_reject_some_with_a_reason_and_accept_others_without(known: Tables) -> None:
    feedback = known["feedback"]
    assert (feedback["reason"].notna() == (feedback["verdict"] == "rejected")).all()
    assert set(feedback["by"]) <= set(names.OWNERS)
    assert 0.2 < (feedback["verdict"] == "rejected").mean() < 0.8


# Money


def test_deals_have_an_amount_in_euros_and_cents(known: Tables) -> None:
    stages = known["stages"]
    assert set(stages.loc[stages["amount"].notna(), "stage"]) == {"opportunity", "won"}
    assert stages.loc[stages["stage"] == "won", "amount"].notna().all()
    assert ((stages["currency"] == "EUR") == stages["amount"].notna()).all()
    assert (stages["amount"] == stages["amount"].round(2))[stages["amount"].notna()].all()


def test_deals_can_be_in_the_currency_of_their_country() -> None:
    known = small(leads=600, currencies=True)
    country = known["leads"].drop_duplicates("lead_id").set_index("lead_id")["country"]
    deals = known["stages"].dropna(subset="amount")
    assert (deals["currency"] == deals["lead_id"].map(country).map(names.CURRENCIES).fillna("EUR")).all()
    assert set(known["rates"]["currency"]) == set(names.CURRENCIES.values())
    assert (known["rates"].groupby("currency")["day"].agg(["size", "nunique"]) == 121).all().all()


def test_a_deal_is_signed_for_no_more_than_was_hoped_and_no_less_than_three_quarters(known: Tables) -> None:
    amounts = known["stages"].pivot_table(index="lead_id", columns="stage", values="amount").dropna()
    assert (amounts["won"] / amounts["opportunity"]).between(0.749, 1.001).all()


def test_larger_companies_sign_larger_deals(known: Tables, leads: pd.DataFrame) -> None:
    won = known["stages"].query("stage == 'won'")
    deals = won.groupby(won["lead_id"].map(leads["company_size"]))["amount"].median()
    assert deals["1-10"] < deals["11-50"] < deals["51-200"] < deals["201-1000"]


def test_paid_touches_cost_what_their_channel_charges_give_or_take_a_tenth(known: Tables) -> None:
    touches, spend = known["touches"], known["spend"]
    paid = touches[touches["channel"].isin(list(names.COST))]
    for channel, cost in names.COST.items():
        total = spend.loc[spend["channel"] == channel, "cost"].sum()
        assert total == pytest.approx(cost * (paid["channel"] == channel).sum(), rel=0.11)
    assert not spend.duplicated(["day", "channel", "campaign"]).any()


# Troubles


def test_without_troubles_every_touch_is_received_at_once() -> None:
    touches = small(troubles=Troubles(late=0))["touches"]
    assert (touches["received_at"] == touches["occurred_at"]).all()


def test_touches_delivered_twice_are_the_same_row_twice() -> None:
    touches = small(leads=300, troubles=Troubles(twice=0.1))["touches"]
    again = touches["event_id"].duplicated()
    assert again.mean() == pytest.approx(0.09, abs=0.01)
    assert (touches.duplicated() == again).all()


def test_machines_open_and_click_within_seconds_and_say_who_they_are() -> None:
    touches = small(leads=300, troubles=Troubles(machine_opens=0.3, bot_clicks=0.1, late=0))["touches"]
    by_machine = touches.dropna(subset="user_agent")
    kinds = by_machine["kind"].value_counts() / (touches["kind"] == "email_sent").sum()
    assert kinds.to_dict() == pytest.approx({"email_open": 0.3, "email_click": 0.1}, abs=0.03)
    sent = touches[touches["kind"] == "email_sent"].set_index("event_id")["occurred_at"]
    after = by_machine["occurred_at"] - by_machine["event_id"].str.rsplit("-", n=1).str[0].map(sent)
    assert after.between("1s", "8s").all()


def test_a_local_clock_shows_its_own_time_and_does_not_say_so() -> None:
    utc, local = (small(troubles=Troubles(zone=zone))["touches"].set_index("event_id") for zone in (None, "Asia/Tokyo"))
    assert str(local["occurred_at"].dtype) == "datetime64[us]"
    assert (local["occurred_at"] - utc["occurred_at"].dt.tz_localize(None) == timedelta(hours=9)).all()


def test_labels_can_come_days_late() -> None:
    at_once, late = (small(leads=300, troubles=Troubles(label_delay_days=days))["stages"] for days in (0, 10))
    assert (late["received_at"] - late["occurred_at"] == timedelta(days=10)).all()
    assert len(late) == (at_once["received_at"] + timedelta(days=10) < UNTIL).sum()


def test_refunds_take_back_what_was_won() -> None:
    stages = small(leads=600, days=360, troubles=Troubles(refunds=0.5))["stages"]
    won, refunds = (stages[stages["stage"] == stage].set_index("lead_id") for stage in ("won", "refund"))
    assert len(refunds) > 5
    assert (refunds["amount"] == -won["amount"].reindex(refunds.index)).all()
    assert (refunds["occurred_at"] - won["occurred_at"].reindex(refunds.index)).between("5D", "60D").all()


def test_duplicate_leads_come_back_under_another_address_and_take_their_touches_along() -> None:
    known = small(leads=400, troubles=Troubles(duplicate_leads=0.2))
    leads, touches = known["leads"].set_index("lead_id"), known["touches"].dropna(subset="lead_id")
    second = leads[leads.index.str.endswith("-2")]
    assert 0.1 < len(second) / 400 < 0.3
    assert second["email"].str.contains("+news@", regex=False).all()
    theirs = touches[touches["lead_id"].isin(second.index)]
    assert len(theirs) > 50
    assert (theirs["occurred_at"] >= theirs["lead_id"].map(second["created_at"])).all()


def test_leaking_columns_know_the_end_from_the_beginning() -> None:
    known = small(leads=300, troubles=Troubles(leaks=True))
    ended = known["stages"][known["stages"]["stage"].isin(["won", "lost"])].set_index("lead_id")["stage"]
    first = known["leads"].drop_duplicates("lead_id").set_index("lead_id")
    expected = first.index.to_series().map(ended).map({"won": "customer", "lost": "closed"})
    assert first["lifecycle"].equals(expected.rename("lifecycle").astype(first["lifecycle"].dtype))
    assert (first["note"].notna() == first["lifecycle"].notna()).all()


def test_troubles_that_are_no_shares_are_named_together() -> None:
    with pytest.raises(
        ValueError, match=r"^Troubles are shares from 0 to 1 and days from 0; mend late, label_delay_days\.$"
    ):
        Troubles(late=1.5, label_delay_days=-1)


# What is written


def test_what_is_written_is_what_the_tables_hold(tmp_path: Path) -> None:
    company = Company(UNTIL, leads=60, days=120)
    for path in write(company, tmp_path):
        table = tables(company)[path.stem]
        if path.suffix == ".parquet":
            read = pd.read_parquet(path).sort_values(["occurred_at", "event_id"], ignore_index=True)
            pd.testing.assert_frame_equal(read, table)
        else:
            assert pyarrow.csv.read_csv(path).num_rows == len(table)
            written = pd.read_csv(path, dtype=str)
            assert list(written.columns) == list(table.columns)
            for column in table.select_dtypes("datetimetz"):
                assert written[column].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


def test_every_written_row_is_admitted_by_ingest(tmp_path: Path) -> None:
    company = Company(UNTIL, leads=120, days=120, currencies=True, troubles=Troubles(duplicate_leads=0.1, refunds=0.2))
    write(company, tmp_path / "files")
    results = ingest(Lake(tmp_path / "lake"), Settings(), files_in([tmp_path / "files"]), UNTIL)
    assert {result.table: (result.stored, result.refused) for result in results} == {
        name: (len(table), 0) for name, table in tables(company).items()
    }


def test_a_large_company_is_written_a_chapter_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "CHAPTER", 100)
    monkeypatch.setattr(people, "CHAPTER", 100)
    chapters = list(parts(Company(UNTIL, leads=250, days=90)))
    assert [part["leads"]["lead_id"].nunique() for part in chapters[:-1]] == [100, 100, 50]
    whole = tables(Company(UNTIL, leads=250, days=90))
    assert whole["leads"]["lead_id"].nunique() == 250
    assert whole["touches"]["event_id"].is_unique
    assert whole["leads"]["account_id"].nunique() > 90


def test_a_last_chapter_of_one_lead_is_written_with_the_columns_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "CHAPTER", 60)
    monkeypatch.setattr(people, "CHAPTER", 60)
    all_at_once = Troubles(twice=0.1, machine_opens=0.2, bot_clicks=0.1, refunds=0.5, duplicate_leads=0.2, leaks=True)
    for troubles in (Troubles(), all_at_once):
        company = Company(UNTIL, leads=61, days=20, troubles=troubles)
        files = {path.stem: path for path in write(company, tmp_path)}
        assert len(pd.read_parquet(files["touches"])) == len(tables(company)["touches"])
        assert pd.read_csv(files["leads"], dtype=str)["lead_id"].str[:7].nunique() == 61


def test_only_whole_files_are_left_in_the_folder(tmp_path: Path) -> None:
    paths = write(Company(UNTIL, leads=20, days=60), tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths) == [
        *("feedback.csv", "identities.csv", "leads.csv", "rates.csv", "spend.csv", "stages.csv", "touches.parquet")
    ]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)


def test_a_write_that_fails_halfway_leaves_the_old_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(company: Company) -> Iterator[Tables]:
        yield next(parts(company))
        raise OSError("no space left on device")

    paths = write(Company(UNTIL, leads=20, days=60), tmp_path)
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr("simulation.files.parts", breaking)
    with pytest.raises(OSError, match="no space left on device"):
        write(Company(UNTIL, leads=30, days=60), tmp_path)
    assert [path.read_bytes() for path in paths] == before
