"""Channels: Google's default group to the letter, ours where Google's says nothing, and one's own rules first."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.channels import CATEGORIES, RULE_SETS, source_categories
from features.errors import ConfigError
from features.ingestion import ingest
from features.lake import Lake
from features.settings import ChannelRule, Channels, Ingest, Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OURS, GA4 = "touchstone-2026-11", "ga4-2026-05"
Touch = Mapping[str, Any]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("channels")


def channels(workshop: Path, touches: Sequence[Touch], rule_set: str = OURS, **configured: Any) -> list[str | None]:
    """Return the channel that each touch has in the lake; None for one that was refused."""
    default = configured.pop("default_channel", None)
    made = Settings(
        channels=Channels.model_validate({"rule_set": rule_set, **configured}),
        ingest=Ingest(timezone="UTC", default_channel=default),
    )
    folder = workshop / str(len(list(workshop.iterdir())))
    folder.mkdir()
    rows = [
        {"kind": "visit"} | touch | {"event_id": f"{i:05}", "lead_id": "ada", "occurred_at": "2026-01-01"}
        for i, touch in enumerate(touches)
    ]
    (folder / "touches.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    lake = Lake(folder / "lake")
    ingest(lake, made, [folder / "touches.jsonl"], NOW)
    stored = {
        row["event_id"]: row["channel"] for row in lake.query("SELECT event_id, channel FROM touches").to_pylist()
    }
    return [stored.get(row["event_id"]) for row in rows]


def utm(text: str) -> Touch:
    """Return a touch of "source / medium / campaign"; what is left out is empty."""
    parts = [part.strip() for part in text.split("/")]
    return dict(zip(("utm_source", "utm_medium", "utm_campaign"), parts, strict=False))


# Google's default group, row by row: what is in it, and what is just outside

TABLE = {
    "Direct": [" / ", "(direct) / (none)", "(direct) / (not set)", "(Direct) / (None)", "(direct) / "],
    "Cross-network": ["google / cpc / Cross-network", "x / y / a cross-network", "google / organic / cross-network"],
    "Paid Shopping": ["amazon / cpc", "etsy.com / paid", "foo / cpc / a shop", "google / cpc / shopping", "a/ppc/Shop"],
    "Paid Search": ["google / cpc", "google / cpm", "bing / PPC", "duckduckgo / retargeting", "baidu / paidsearch"],
    "Paid Social": ["facebook / cpc", "linkedin / paid-social", "instagram / cpm", "t.co / retargeting"],
    "Paid Video": ["youtube / cpv-cpc", "vimeo / paid", "youtube / cpm"],
    "Display": ["foo / display", "foo / banner", "foo / expandable", "foo / interstitial", "foo / cpm"],
    "Paid Other": ["foo / cpc", "foo / ppc", "foo / retargeting", "foo / paid", "foo / paid-anything", "foo / xcpx"],
    "AI Assistant": ["chatgpt.com / ai-assistant / (ai-assistant)", "google / ai-assistant", "foo / AI-Assistant"],
    "Organic Shopping": ["amazon / referral", "foo / bar / shop", "mailchimp / email / spring shop", "x/y/eshop"],
    "Organic Social": ["facebook / bar", "foo / social", "foo / sm", "foo / social network", "foo / social-media"],
    "Organic Video": ["youtube / bar", "foo / video", "foo / my-video-x"],
    "Organic Search": ["google / bar", "google / ", "foo / organic", "yahoo / referral"],
    "Referral": ["foo / referral", "foo / app", "foo / link"],
    "Email": ["foo / email", "email / bar", "foo / e-mail", "foo / e_mail", "e mail / bar", "mailchimp / Email"],
    "Affiliates": ["foo / affiliate"],
    "Audio": ["foo / audio"],
    "SMS": ["sms / bar", "foo / sms"],
    "Mobile Push Notifications": ["foo / push", "foo / webpush", "foo / mobile-web", "x / notification", "firebase/x"],
    "Unassigned": [
        "qr / print", "foo / ", " / bar", "foo / (none)", "(direct) / bar", "foo / unpaid",
        "foo / ppcx", "foo / retargetings", "foo / displays", "foo / affiliates", "foo / audios", "foo / smss",
        "foo / pushy", "foo / links", "foo / referrals", "foo / emails", "emails / bar", "foo / socials",
        "foo / organics", "foo / bar / workshop", "firebases / x", "foo / bar / crossnetwork",
    ],
}  # fmt: skip


@pytest.mark.parametrize("rule_set", [OURS, GA4])
def test_every_row_of_the_table_holds_on_both_sides_of_its_condition(workshop: Path, rule_set: str) -> None:
    cases = [(text, channel) for channel, texts in TABLE.items() for text in texts]
    answers = channels(workshop, [utm(text) for text, _ in cases], rule_set)
    assert [(text, answer) for (text, _), answer in zip(cases, answers, strict=True)] == cases


FIRST = {
    "google / cpm": "Paid Search",
    "foo / cpm": "Display",
    "mailchimp / email / spring shop": "Organic Shopping",
    "mailchimp / email / spring workshop": "Email",
    "qr / print": "Unassigned",
    "foo / mobile-web": "Mobile Push Notifications",
    "google / cpc / cross-network shopping": "Cross-network",
    "amazon / cpc / spring": "Paid Shopping",
    "facebook / cpc / shopping": "Paid Shopping",
    "youtube / social": "Organic Social",
    "google / social": "Organic Social",
    "google / video": "Organic Video",
    "google / email": "Organic Search",
    "google / ai-assistant": "AI Assistant",
    "foo / push-video": "Organic Video",
    "email / sms": "Email",
    "sms / mobile": "SMS",
}


@pytest.mark.parametrize("rule_set", [OURS, GA4])
def test_the_first_rule_that_holds_decides(workshop: Path, rule_set: str) -> None:
    assert dict(zip(FIRST, channels(workshop, [utm(origin) for origin in FIRST], rule_set), strict=True)) == FIRST


ORGANIC = {
    "search": "Organic Search",
    "social": "Organic Social",
    "shopping": "Organic Shopping",
    "video": "Organic Video",
}
WITH_CPC = {category: channel.replace("Organic", "Paid") for category, channel in ORGANIC.items()}


@pytest.mark.parametrize(("medium", "expected"), [("any", ORGANIC), ("cpc", WITH_CPC)])
def test_all_of_googles_sources_have_their_categorys_channel(
    workshop: Path, medium: str, expected: dict[str, str]
) -> None:
    with CATEGORIES.open(encoding="utf-8", newline="") as rows:
        listed = [
            (row["source"], row["source_category"].removeprefix("SOURCE_CATEGORY_")) for row in csv.DictReader(rows)
        ]
    assert len(listed) == 819
    answers = channels(workshop, [{"utm_source": source.upper(), "utm_medium": medium} for source, _ in listed], GA4)
    wrong = {s: a for (s, category), a in zip(listed, answers, strict=True) if a != expected[category.lower()]}
    assert wrong == {}


def test_the_categories_are_shipped_with_their_notice() -> None:
    assert "MIT License" in CATEGORIES.with_suffix(".LICENSE").read_text("utf-8")
    assert 'features = ["*.csv", "*.LICENSE", ' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_settings_name_every_rule_set() -> None:
    assert set(get_args(Channels.model_fields["rule_set"].annotation)) == set(RULE_SETS)


words = st.sampled_from(
    ["", "google", "facebook", "amazon", "youtube", "chatgpt.com", "foo", "email", "sms", "firebase", "(direct)"]
)
media = st.sampled_from(
    ["", "(none)", "cpc", "cpm", "email", "referral", "event", "partner", "sales", "print", "video", "push", "offline"]
)
campaigns = st.sampled_from(["", "spring shop", "cross-network", "webinar"])


@hypothesis_settings(max_examples=4, deadline=None)
@given(
    touches=st.lists(st.tuples(words, media, campaigns, st.sampled_from(["visit", "call"])), min_size=40, max_size=60)
)
def test_ours_says_something_else_only_where_googles_says_nothing_or_knows_no_assistant(
    workshop: Path, touches: list[tuple[str, str, str, str]]
) -> None:
    rows = [{"utm_source": s, "utm_medium": m, "utm_campaign": c, "kind": k} for s, m, c, k in touches]
    pairs = zip(touches, channels(workshop, rows, GA4), channels(workshop, rows, OURS), strict=True)
    other = {(ga4, ours, s, k) for (s, m, c, k), ga4, ours in pairs if ga4 != ours}
    allowed = {
        (ga4, ours, source, kind)
        for ga4, ours, source, kind in other
        if ga4 == "Unassigned" or ours == "AI Assistant" or (ga4, source, kind) == ("Direct", "", "call")
    }
    assert other == allowed


# Channels of business to business


BUSINESS: list[tuple[Touch, str]] = [
    (utm("apollo / outbound"), "Sales outreach"),
    (utm("saastr / webinar"), "Events"),
    (utm("acme / partner"), "Partner"),
    (utm("netline / content-syndication"), "Content syndication"),
    (utm("app / in-app"), "Product"),
    (utm("letter / direct-mail"), "Offline"),
    ({"kind": "Sales Call", "utm_source": ""}, "Sales outreach"),
    ({"kind": "webinar-attended", "utm_source": ""}, "Events"),
    ({"kind": "partner_referral", "utm_source": ""}, "Partner"),
    ({"kind": "syndicated_download", "utm_source": ""}, "Content syndication"),
    ({"kind": "trial_started", "utm_source": ""}, "Product"),
    ({"kind": "postcard", "utm_source": ""}, "Offline"),
    ({"kind": "sales_call", **utm("google / cpc")}, "Paid Search"),
    (utm("chatgpt.com / "), "AI Assistant"),
    (utm("chatgpt.com / cpc"), "Paid Other"),
]


def test_ours_knows_channels_of_business_to_business(workshop: Path) -> None:
    touches = [touch for touch, _ in BUSINESS]
    assert list(zip(touches, channels(workshop, touches), strict=True)) == BUSINESS


def test_googles_rules_know_none_of_these(workshop: Path) -> None:
    touches = [touch for touch, channel in BUSINESS if not channel.startswith("Paid")]
    expected = ["Unassigned" if touch["utm_source"] else "Direct" for touch in touches]
    assert channels(workshop, touches, GA4) == expected


# Rules of one's own


def test_rules_of_ones_own_are_asked_first_in_their_order(workshop: Path) -> None:
    rules = [
        ChannelRule(channel="Flyers", when="medium = 'print'"),
        ChannelRule(channel="Brand search", when="category = 'search' AND campaign LIKE '%brand%'"),
        ChannelRule(channel="Never", when="medium = 'print'"),
        ChannelRule(channel="Calls", when="kind = 'inbound_call'"),
        ChannelRule(channel="Docs", when="page LIKE '%/docs/%' AND referrer = 'github.com'"),
    ]
    docs = {"url": "https://example.com/Docs/start", "referrer": "https://github.com/x"}
    touches = [utm("qr / Print"), utm("google / cpc / Brand DE"), {"kind": "Inbound call"}, docs, utm("google / cpc")]
    expected = ["Flyers", "Brand search", "Calls", "Docs", "Paid Search"]
    assert channels(workshop, touches, rules=rules) == expected
    assert channels(workshop, touches, GA4, rules=rules) == expected


def test_a_rule_of_ones_own_lets_a_file_without_any_origin_in(workshop: Path) -> None:
    rules = [ChannelRule(channel="Calls", when="kind = 'call'")]
    assert channels(workshop, [{"kind": "call"}, {"kind": "visit"}], GA4, rules=rules) == ["Calls", None]


def test_every_rule_that_cannot_be_used_is_named_at_once(workshop: Path) -> None:
    rules = [
        ChannelRule(channel="A", when="mediun = 'print'"),
        ChannelRule(channel="B", when="medium = 'print'"),
        ChannelRule(channel="C", when="medium"),
        ChannelRule(channel="D", when="medium ="),
    ]
    sentence = (
        'channels.rules.0 (A) cannot be used: Binder Error: Referenced column "mediun" not found in FROM clause!: '
        "\"mediun = 'print'\". "
        'channels.rules.2 (C) cannot be used: it is a VARCHAR, not true or false: "medium". '
        'channels.rules.3 (D) cannot be used: Parser Error: syntax error at or near ")": "medium =". '
        "A condition may name source, medium, campaign, content, term, category, referrer, page, click_id, kind. "
        "Nothing was stored."
    )
    with pytest.raises(ConfigError, match=r"Nothing was stored\.$") as refused:
        channels(workshop, [utm("a / b")], rules=rules)
    assert str(refused.value) == sentence


# What the file says, and what it does not


def test_a_channel_that_the_file_gives_is_kept_as_it_came(workshop: Path) -> None:
    touches = [utm("google / cpc") | {"channel": "Brand ads"}, utm("google / cpc") | {"channel": " "}]
    assert channels(workshop, touches) == ["Brand ads", "Paid Search"]


def test_the_default_channel_is_the_last_resort(workshop: Path) -> None:
    touches = [utm("google / cpc"), utm("qr / print"), {"utm_source": " "}, {"url": "https://example.com"}]
    assert channels(workshop, touches, default_channel="Unknown") == ["Paid Search", "Unassigned", "Unknown", "Direct"]
    assert channels(workshop, touches) == ["Paid Search", "Unassigned", "Direct", "Direct"]


def test_a_touch_of_a_file_that_cannot_tell_is_refused_when_its_channel_is_empty(workshop: Path) -> None:
    assert channels(workshop, [{"channel": ""}, {"channel": "Email"}]) == [None, "Email"]


def test_a_touch_is_the_same_touch_whatever_the_rules(tmp_path: Path) -> None:
    text = "lead_id,occurred_at,kind,utm_source,utm_medium\nada,2026-01-01T00:00:00Z,visit,qr,print\n"
    (tmp_path / "touches.csv").write_text(text)
    lake, rule = Lake(tmp_path / "lake"), ChannelRule(channel="Flyers", when="medium = 'print'")
    ingest(lake, Settings(), [tmp_path / "touches.csv"], NOW)
    other = Settings(channels=Channels.model_validate({"rules": [rule]}))
    (again,) = ingest(lake, other, [tmp_path / "touches.csv"], NOW)
    assert (again.stored, again.already_there) == (0, 1)
    assert lake.query("SELECT channel FROM touches").to_pylist() == [{"channel": "Unassigned"}]


def test_each_of_googles_sources_has_a_category() -> None:
    assert len(source_categories()) == 819
    assert set(source_categories().values()) == {"search", "social", "shopping", "video"}
