"""Origins: UTM fields, wherever they stand; else the click id; else the referrer, unless it is one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_channels import Touch, channels

from features.origins import PAGES


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("origins")


def one(workshop: Path, touch: Touch, **configured: Any) -> str | None:
    return channels(workshop, [touch], **configured)[0]


def test_utm_is_read_from_the_address_of_the_page(workshop: Path) -> None:
    page = "https://example.com/?a=1&UTM_source=Google&utm_medium=c%70c#top"
    touches: list[Touch] = [{name: page} for name in PAGES]
    assert channels(workshop, touches) == ["Paid Search"] * 6


def test_utm_is_decoded_and_what_cannot_be_is_taken_as_it_stands(workshop: Path) -> None:
    page = "https://example.com/?utm_source=foo&utm_medium={}"
    media = ("social+network", "e%20mail", "cp%E4", "100%")
    read = channels(workshop, [{"url": page.format(medium)} for medium in media])
    assert read == ["Organic Social", "Email", "Paid Other", "Unassigned"]


def test_utm_is_read_from_properties(workshop: Path) -> None:
    assert one(workshop, {"properties": {"utm_source": "google", "utm_medium": "cpc"}}) == "Paid Search"


def test_a_column_wins_over_properties_and_they_over_the_address(workshop: Path) -> None:
    page = {"url": "https://example.com/?utm_source=email&utm_medium=audio"}
    properties = {"properties": {"utm_source": "google", "utm_medium": "sms"}}
    touches = [page | properties | {"utm_medium": "cpc"}, page | properties | {"utm_source": "foo"}, page]
    assert channels(workshop, touches) == ["Paid Search", "SMS", "Email"]


CLICKS = {
    "gclid": "Paid Search", "gbraid": "Paid Search", "wbraid": "Paid Search", "msclkid": "Paid Search",
    "li_fat_id": "Paid Social", "mc_cid": "Email", "mc_eid": "Email", "mkt_tok": "Email", "_hsenc": "Email",
    "fbclid": "Direct",
}  # fmt: skip


def test_a_click_id_tells_the_channel_when_utm_does_not(workshop: Path) -> None:
    page = "https://example.com/?x=1&{}=Ab-1"
    plain = {"url": "https://example.com"}
    in_address: list[Touch] = [{"url": page.format(name)} for name in CLICKS]
    in_columns: list[Touch] = [{name: "Ab-1"} | plain for name in CLICKS]
    in_properties: list[Touch] = [{"properties": {name: "Ab-1"} | plain} for name in CLICKS]
    assert channels(workshop, in_address + in_columns + in_properties) == list(CLICKS.values()) * 3


def test_a_click_id_that_is_empty_or_beside_utm_tells_nothing(workshop: Path) -> None:
    mail = {"utm_source": "foo", "utm_medium": "affiliate"}
    touches = [{"url": "https://example.com/?gclid=1"} | mail, {"url": "https://example.com/?gclid=&x=1"}]
    assert channels(workshop, touches) == ["Affiliates", "Direct"]


def test_a_click_id_says_more_than_the_referrer(workshop: Path) -> None:
    ad = {"url": "https://example.com/?gclid=x", "referrer": "https://www.google.com/"}
    proves_nothing = {"url": "https://example.com/?fbclid=x", "referrer": "https://l.facebook.com/"}
    assert channels(workshop, [ad, proves_nothing]) == ["Paid Search", "Organic Social"]


REFERRERS = {
    "https://www.google.com/": "Organic Search",
    "https://www.google.co.uk/search?q=x": "Organic Search",
    "google.de": "Organic Search",
    "https://duckduckgo.com": "Organic Search",
    "https://search.brave.com/search?q=x": "Organic Search",
    "https://uk.search.yahoo.com/": "Organic Search",
    "https://mail.google.com/": "Referral",
    "https://mail.yahoo.com/": "Referral",
    "https://google.evil.example.com/": "Referral",
    "https://evil.example.com/?u=https://www.google.com": "Referral",
    "https://l.facebook.com/l.php": "Organic Social",
    "https://de.linkedin.com:443/feed": "Organic Social",
    "https://x.com/someone": "Organic Social",
    "https://t.co/abc": "Organic Social",
    "https://m.youtube.com/watch": "Organic Video",
    "https://www.amazon.co.uk/dp/1": "Organic Shopping",
    "HTTPS://User@News.YCombinator.com/item": "Organic Social",
    "android-app://com.unknown.app/": "Referral",
    "https://chatgpt.com/": "AI Assistant",
    "https://www.perplexity.ai/search": "AI Assistant",
    "https://gemini.google.com/app": "AI Assistant",
    "https://blog.partner.example/post": "Referral",
    "$direct": "Direct",
    "(none)": "Direct",
    " ": "Direct",
}


@pytest.mark.parametrize("place", ["column", "properties"])
def test_the_host_of_the_referrer_tells_the_channel(workshop: Path, place: str) -> None:
    touches: list[Touch] = [
        {"referrer": referrer} if place == "column" else {"properties": {"page_referrer": referrer, "url": "shop.test"}}
        for referrer in REFERRERS
    ]
    assert dict(zip(REFERRERS, channels(workshop, touches), strict=True)) == REFERRERS


def test_ones_own_domains_refer_nobody(workshop: Path) -> None:
    pages = [
        "https://example.com/a",
        "https://docs.Example.com/",
        "https://notexample.com/",
        "https://example.com.evil.net",
    ]
    own = channels(workshop, [{"referrer": page} for page in pages], own_domains=["Example.com"])
    assert own == ["Direct", "Direct", "Referral", "Referral"]


def test_a_page_of_the_same_host_refers_nobody(workshop: Path) -> None:
    visit = {"url": "https://www.shop.test/b", "referrer": "https://shop.test/a"}
    assert channels(workshop, [visit, visit | {"referrer": "https://other.test/a"}]) == ["Direct", "Referral"]


def test_utm_silences_the_referrer(workshop: Path) -> None:
    assert one(workshop, {"utm_medium": "email", "referrer": "https://www.facebook.com/"}) == "Email"


def test_a_campaign_alone_leaves_the_referrer_its_say(workshop: Path) -> None:
    assert one(workshop, {"campaign": "spring", "referrer": "https://www.google.com/"}) == "Organic Search"
    assert one(workshop, {"campaign": "Cross-Network", "referrer": "https://www.google.com/"}) == "Cross-network"


def test_properties_that_are_no_json_object_are_refused_and_harm_no_other_row(workshop: Path) -> None:
    touches = [
        {"properties": "{", "utm_source": "google"},
        {"properties": "[1]", "utm_source": "google"},
        {"utm_source": "google"},
    ]
    assert channels(workshop, touches) == [None, None, "Organic Search"]
