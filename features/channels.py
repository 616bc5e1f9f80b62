"""Channels: the rules that name the channel of a touch, in order; the first that holds decides.

A rule set judges a touch's origin, which ``origins`` finds. A rule is a DuckDB condition over

    source, medium, campaign, content, term    what the UTM fields say, or else click id and referrer
    category                                   what Google calls the source: search, social, shopping or video
    referrer, page, click_id                   host of the referrer, address of the page, name of the click id
    kind                                       the touch's kind, with underscores

all in lower case, NULL where nothing is known. NULL holds nothing, so a rule need not ask whether it knows.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from features.contract import literal
from features.errors import ConfigError
from features.settings import Channels

FIELDS = ("source", "medium", "campaign", "content", "term", "category", "referrer", "page", "click_id", "kind")
CATEGORIES = Path(__file__).with_name("ga4_source_categories.csv")  # MIT, see the LICENSE of that name
UNASSIGNED = "Unassigned"
DIRECT = "Direct"


@dataclass(frozen=True)
class Rule:
    """A channel, and when a touch came through it."""

    channel: str
    when: str


PAID = "regexp_full_match(medium, '.*cp.*|ppc|retargeting|paid.*')"
SHOP = "regexp_full_match(campaign, '.*(([^a-df-z]|^)shop|shopping).*')"
SOCIAL_MEDIA = "('social', 'social-network', 'social-media', 'sm', 'social network', 'social media')"
EMAIL = "('email', 'e-mail', 'e_mail', 'e mail')"

DIRECT_RULE = Rule(
    DIRECT, "coalesce(source, '(direct)') = '(direct)' AND coalesce(medium, '(none)') IN ('(none)', '(not set)')"
)
CROSS_NETWORK = Rule("Cross-network", "contains(campaign, 'cross-network')")
PAID_RULES = (
    Rule("Paid Shopping", f"(category = 'shopping' OR {SHOP}) AND {PAID}"),
    Rule("Paid Search", f"category = 'search' AND {PAID}"),
    Rule("Paid Social", f"category = 'social' AND {PAID}"),
    Rule("Paid Video", f"category = 'video' AND {PAID}"),
    Rule("Display", "medium IN ('display', 'banner', 'expandable', 'interstitial', 'cpm')"),
    Rule("Paid Other", PAID),
)
AI_ASSISTANT = Rule("AI Assistant", "medium = 'ai-assistant'")
FREE_RULES = (
    Rule("Organic Shopping", f"category = 'shopping' OR {SHOP}"),
    Rule("Organic Social", f"category = 'social' OR medium IN {SOCIAL_MEDIA}"),
    Rule("Organic Video", "category = 'video' OR contains(medium, 'video')"),
    Rule("Organic Search", "category = 'search' OR medium = 'organic'"),
    Rule("Referral", "medium IN ('referral', 'app', 'link')"),
    Rule("Email", f"source IN {EMAIL} OR medium IN {EMAIL}"),
    Rule("Affiliates", "medium = 'affiliate'"),
    Rule("Audio", "medium = 'audio'"),
    Rule("SMS", "source = 'sms' OR medium = 'sms'"),
    Rule(
        "Mobile Push Notifications",
        "suffix(medium, 'push') OR contains(medium, 'mobile') OR contains(medium, 'notification') "
        "OR source = 'firebase'",
    ),
)

# What happened says where it came from only when nothing else does. These are words that CRM and event tools use.
OF_KIND = tuple(
    Rule(channel, f"source IS NULL AND medium IS NULL AND kind IN {kinds}")
    for channel, kinds in {
        "Sales outreach": ("call", "sales_call", "cold_call", "outbound_call", "sales_email", "outbound_email"),
        "Events": ("event_registration", "event_attended", "webinar_registration", "webinar_attended", "trade_show"),
        "Partner": ("partner_referral", "partner_introduction"),
        "Content syndication": ("content_syndication", "syndicated_download"),
        "Product": ("product_event", "product_signup", "trial_started", "in_app_message"),
        "Offline": ("direct_mail", "letter", "postcard"),
    }.items()
)
OF_AI = Rule(
    "AI Assistant",
    "source IN ('chatgpt', 'chatgpt.com', 'openai', 'perplexity', 'perplexity.ai', 'claude', 'claude.ai', "
    "'copilot.microsoft.com', 'gemini.google.com', 'deepseek', 'grok', 'grok.com')",
)  # ChatGPT writes utm_source=chatgpt.com and no medium
OF_MEDIUM = (  # media that Google would leave unassigned
    Rule("Sales outreach", "medium IN ('sales', 'sdr', 'bdr', 'outbound', 'outreach', 'sales-outreach')"),
    Rule("Events", "medium IN ('event', 'events', 'webinar', 'conference', 'tradeshow', 'trade-show', 'field-event')"),
    Rule("Partner", "medium IN ('partner', 'partners', 'partner-referral', 'co-marketing', 'comarketing')"),
    Rule("Content syndication", "medium IN ('syndication', 'content-syndication', 'content_syndication')"),
    Rule("Product", "medium IN ('product', 'in-app', 'in_app', 'inapp')"),
    Rule("Offline", "medium IN ('offline', 'direct-mail', 'direct_mail', 'directmail', 'tv', 'radio', 'out-of-home')"),
)

RULE_SETS: dict[str, tuple[Rule, ...]] = {
    "ga4-2026-05": (DIRECT_RULE, CROSS_NETWORK, *PAID_RULES, AI_ASSISTANT, *FREE_RULES),
    "touchstone-2026-11": (
        *OF_KIND, DIRECT_RULE, CROSS_NETWORK, *PAID_RULES, AI_ASSISTANT, OF_AI, *FREE_RULES, *OF_MEDIUM,
    ),
}  # fmt: skip


def define_channels(connection: duckdb.DuckDBPyConnection, channels: Channels) -> None:
    """Make the table ``source_categories`` and the macro ``channel_by_rules(*FIELDS)``; own rules come first.

    Raises:
        ConfigError: naming every rule of touchstone.toml that cannot be used.

    """
    own = [Rule(rule.channel, rule.when) for rule in channels.rules]
    problems = [problem for place, rule in enumerate(own) for problem in _problems(connection, place, rule)]
    if problems:
        raise ConfigError(f"{' '.join(problems)} A condition may name {', '.join(FIELDS)}. Nothing was stored.")
    rules = [*own, *RULE_SETS[channels.rule_set]]
    listed = "\n".join(f"WHEN {rule.when} THEN {literal(rule.channel)}" for rule in rules)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE source_categories AS SELECT unnest($1) AS named, unnest($2) AS category",
        [list(source_categories()), list(source_categories().values())],
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP MACRO channel_by_rules({", ".join(FIELDS)}) AS
            CASE {listed} ELSE {literal(UNASSIGNED)} END;
    """)


@cache
def source_categories() -> dict[str, str]:
    """Return Google's category of each source, both in lower case."""
    with CATEGORIES.open(encoding="utf-8", newline="") as rows:
        return {row["source"].lower(): row["source_category"].split("_")[-1].lower() for row in csv.DictReader(rows)}


def _problems(connection: duckdb.DuckDBPyConnection, place: int, rule: Rule) -> list[str]:
    fields = ", ".join(f"NULL::VARCHAR AS {field}" for field in FIELDS)
    try:
        (kind,) = connection.sql(f"SELECT ({rule.when}) AS holds FROM (SELECT {fields}) LIMIT 0").types
    except duckdb.Error as error:
        why = str(error).split("\n", maxsplit=1)[0].rstrip(".")
    else:
        why = "" if str(kind) == "BOOLEAN" else f"it is a {kind}, not true or false"
    return [f'channels.rules.{place} ({rule.channel}) cannot be used: {why}: "{rule.when}".'] if why else []
