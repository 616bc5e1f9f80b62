"""Machines: touches that no person made, as far as a touch's own row tells. They are flagged, never deleted.

A flagged touch is true in the column ``machine``, and has a ``"machine_reason"`` among its properties. A file that has
such a column is believed, whatever else the row tells.

What one row tells: its source says so (HubSpot's bot filter, Marketo's bot activity, a machine open); its user agent
is a crawler's, or the bare "Mozilla/5.0" of Apple's mail privacy proxy; a click came within two seconds of the delivery
(``delivered_at``), as only a security scanner's does.

What it does not tell: a scanner that waits, or that clicks every link of a mail (that takes the other clicks); Apple's
proxy behind another user agent; a person behind Gmail's or Yahoo's image proxy, who is taken for a person; a crawler
that calls itself a browser; and any machine whose tool sends neither a flag nor a user agent.
"""

from __future__ import annotations

from collections.abc import Collection

from features.admission import BY_SIGNS
from features.contract import literal, quoted

SAID = (
    "machine", "is_bot", "isBot", "is_bot_activity", "Is Bot Activity", "isBotActivity", "bot_filtered", "botFiltered",
    "filteredEvent", "machine_open", "machineOpen", "is_machine_open", "isMachineOpen", "machine open",
)  # fmt: skip
AGENTS = ("user_agent", "userAgent", "User Agent", "context_user_agent")
SOUGHT = (*SAID, *AGENTS, "delivered_at")
PARTS = ("bot", "Bot", "achine", "gent", "filteredEvent", "delivered_at")  # one is in each; most rows have none
SECONDS_OF_A_SCANNER = 2
CRAWLERS = (
    r"(bot|crawler|spider|crawling)([^a-z]|$)", "slurp", "facebookexternalhit", "headlesschrome", "phantomjs",
    "python-requests", "python-urllib", "go-http-client", "apache-httpclient", "libwww-perl", "scrapy", r"^curl/",
    r"^wget/", "lighthouse", "pingdom", "google-read-aloud", "bytespider", "proofpoint", "barracuda", "mimecast",
)  # fmt: skip

MACROS = f"""
CREATE OR REPLACE TEMP MACRO is_crawler(agent) AS  -- Cubot is a telephone
    regexp_matches(replace(lower(agent), 'cubot', ''), {literal("|".join(CRAWLERS))});
CREATE OR REPLACE TEMP MACRO seconds_between(earlier, later) AS CASE WHEN says_zone(earlier) AND says_zone(later)
    THEN epoch(TRY_CAST(later AS TIMESTAMPTZ)) - epoch(TRY_CAST(earlier AS TIMESTAMPTZ)) END;
"""


def may_tell(columns: Collection[str]) -> str:
    """Return SQL for whether a mapped touch may tell of a machine; of the others nothing need be asked."""
    if "machine" in columns:
        return "true"
    if "properties" not in columns:
        return "false"
    return "(" + " OR ".join(f"contains(text_of(properties), {literal(part)})" for part in PARTS) + ")"


def with_machine(relation: str, columns: Collection[str]) -> str:
    """Return SQL for ``relation``, touches as mapped, with one more column: why a machine made it, else NULL.

    What a column ``machine`` says comes first. The connection must know ``admission.MACROS`` and ``MACROS``.
    """
    properties = "text_of(properties)" if "properties" in columns else "NULL::VARCHAR"
    kind = "lower(text_of(kind))" if "kind" in columns else "NULL::VARCHAR"
    occurred_at = "text_of(occurred_at)" if "occurred_at" in columns else "NULL::VARCHAR"
    found = {name: f"nullif(trim(found[{place}]), '')" for place, name in enumerate(SOUGHT, start=1)}
    stated = "flag_of(text_of(machine))" if "machine" in columns else "NULL::BOOLEAN"
    said = " OR ".join([stated, *(f"flag_of({found[name]})" for name in SAID)])
    return f"""
        WITH sought AS (
            SELECT *, json_extract_string(
                CASE WHEN {may_tell(columns)} AND json_valid({properties}) THEN {properties} END,
                [{", ".join(literal(f"/{name}") for name in SOUGHT)}]) AS found
            FROM ({relation})),
        agents AS (SELECT *, coalesce({", ".join(found[name] for name in AGENTS)}) AS agent FROM sought)
        SELECT {", ".join(map(quoted, columns))}, CASE
            WHEN NOT {stated} THEN NULL
            WHEN {said} THEN 'Its source says that a machine made it.'
            WHEN is_crawler(agent) THEN 'Its user agent is a crawler''s.'
            WHEN contains({kind}, 'open') AND agent = 'Mozilla/5.0'
                THEN 'Its user agent is that of Apple''s mail privacy proxy.'
            WHEN contains({kind}, 'click')
                AND seconds_between({found["delivered_at"]}, {occurred_at}) BETWEEN 0 AND {SECONDS_OF_A_SCANNER}
                THEN 'The click came within {SECONDS_OF_A_SCANNER} seconds of the delivery.'
            END AS {quoted(BY_SIGNS)}
        FROM agents"""
