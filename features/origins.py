"""Origins: where a touch came from, as far as its own row tells: source, medium and campaign.

In this order: the UTM fields (columns, properties, or in the query of the page's address); a click id, which an
advertiser or a mailing tool adds by itself; the referrer. A referrer of one's own domain is none.

A row alone does not tell to which visit it belongs, so a second page of a visit without UTM looks Direct. And
``fbclid`` is on every link out of Facebook, paid or not: it proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from features.admission import BY_RULES
from features.channels import DIRECT, FIELDS
from features.contract import literal, quoted
from features.settings import Settings

UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
PAGES = ("url", "page_url", "page_location", "page", "landing_page", "landing_page_url")
CLICK_IDS = {  # what each proves
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "msclkid": ("bing", "cpc"),
    "li_fat_id": ("linkedin", "cpc"),
    "mc_cid": ("mailchimp", "email"),
    "mc_eid": ("mailchimp", "email"),
    "mkt_tok": ("marketo", "email"),
    "_hsenc": ("hubspot", "email"),
}
REFERRERS = ("referrer", "page_referrer")
TELLING = {*UTM, *PAGES, *CLICK_IDS, *REFERRERS}  # columns of a file that tell where a touch came from
SOUGHT = (*UTM, *PAGES, *CLICK_IDS, *REFERRERS)  # among the properties

# Hosts whose medium Google's categories do not tell.
MEDIA = {
    "ai-assistant": (
        "chatgpt.com", "chat.openai.com", "gemini.google.com", "bard.google.com", "copilot.microsoft.com",
        "grok.com", "chat.deepseek.com", "claude.ai", "perplexity.ai", "chat.mistral.ai", "meta.ai",
    ),
    "organic": ("search.brave.com", "kagi.com", "startpage.com", "search.yahoo.com"),
    "social": ("x.com", "threads.net", "threads.com", "bsky.app"),
}  # fmt: skip


def _proved(place: int) -> str:
    return " ".join(f"WHEN {literal(name)} THEN {literal(proof[place])}" for name, proof in CLICK_IDS.items())


MACROS = rf"""
CREATE OR REPLACE TEMP MACRO click_id_of(address) AS
    nullif(lower(regexp_extract(address, '(?i)[?&#]({"|".join(CLICK_IDS)})=[^&#\s]', 1)), '');
CREATE OR REPLACE TEMP MACRO proved_source(click_id) AS CASE click_id {_proved(0)} END;
CREATE OR REPLACE TEMP MACRO proved_medium(click_id) AS CASE click_id {_proved(1)} END;
CREATE OR REPLACE TEMP MACRO parameter(address, name) AS list_transform(
    [regexp_extract(address, '(?i)[?&#]' || name || '=([^&#\s]*)', 1)],
    lambda found: nullif(trim(coalesce(TRY(url_decode(replace(found, '+', ' '))), found)), ''))[1];
CREATE OR REPLACE TEMP MACRO host_of(address) AS nullif(regexp_extract(
    lower(address), '^\s*(?:[a-z][a-z0-9+.-]*://)?(?:[^/@?#\s]*@)?(?:www\d?\.|m\.)?([^/:?#\s]+\.[^/:?#\s]+)', 1), '');
CREATE OR REPLACE TEMP MACRO is_below(host, domain) AS host = domain OR suffix(host, '.' || domain);
CREATE OR REPLACE TEMP MACRO name_of(host) AS  -- google for google.com and google.co.uk
    nullif(regexp_extract(host, '^([^.]+)\.(?:com|net|org|[a-z]{{2}}|com?\.[a-z]{{2}})$', 1), '');
CREATE OR REPLACE TEMP MACRO parent_of(host) AS regexp_extract(host, '^[^.]+\.(.+)$', 1);
CREATE OR REPLACE TEMP MACRO medium_of(host, category) AS CASE
    {" ".join(f"WHEN host IN {hosts} THEN {literal(medium)}" for medium, hosts in MEDIA.items())}
    WHEN category = 'search' THEN 'organic' WHEN host IS NOT NULL THEN 'referral' END;
"""


def with_channel(relation: str, columns: Collection[str], told: bool, settings: Settings) -> str:
    """Return SQL for ``relation``, touches as mapped, with one more column: the channel that the rules say.

    It is NULL where the file gives a channel, and where nothing tells one: no origin, no rule for the kind of
    touch, no ``default_channel``. When the file could have told (``told``: it has a column of ``TELLING``) and did
    not, that is Direct, as Google has it. ``columns`` are the relation's. The connection must know
    ``admission.MACROS``, ``MACROS`` and what ``define_channels`` makes.
    """
    wanted = {*UTM, *REFERRERS, "campaign", "channel", "kind", "properties"}
    given = {name: f"text_of({name})" if name in columns else "NULL::VARCHAR" for name in wanted}
    found = {name: f"nullif(trim(found[{place}]), '')" for place, name in enumerate(SOUGHT, start=1)}
    utm = (
        f"lower(coalesce({given[name]}, {found[name]}, parameter(address, {literal(name)}))) AS {_told(name)}"
        for name in UTM
    )
    properties = given["properties"]
    own_domains = (f"is_below(host, {literal(domain.lower())})" for domain in settings.channels.own_domains)
    last_resort = settings.ingest.default_channel or (DIRECT if told else None)
    judged = {
        **{field: field for field in FIELDS},
        **{name.removeprefix("utm_"): _told(name) for name in UTM},
        "source": "source",
        "medium": "medium",
        "campaign": f"coalesce({_told('utm_campaign')}, lower({given['campaign']}))",
        "referrer": "from_host",
        "page": "nullif(lower(address), '')",
        "kind": rf"regexp_replace(lower({given['kind']}), '[\s-]+', '_', 'g')",
    }
    return f"""
        WITH sought AS (
            SELECT *, json_extract_string(
                CASE WHEN {given["channel"]} IS NULL AND json_valid({properties}) THEN {properties} END,
                {_list(f"/{name}" for name in SOUGHT)}) AS found
            FROM ({relation})),
        addressed AS (SELECT *, concat_ws(' ', {", ".join(found[name] for name in PAGES)}) AS address FROM sought),
        told AS (
            SELECT *, {", ".join(utm)},
                   coalesce({_case(f"{found[name]} IS NOT NULL" for name in CLICK_IDS)},
                            click_id_of(address)) AS click_id,
                   host_of(coalesce({", ".join(f"{given[name]}, {found[name]}" for name in REFERRERS)})) AS host
            FROM addressed),
        referred AS (
            SELECT *, {_told("utm_source")} IS NULL AND {_told("utm_medium")} IS NULL AS untold,
                   CASE WHEN host = host_of(address) OR {" OR ".join([*own_domains, "false"])} THEN NULL ELSE host
                   END AS from_host
            FROM told),
        looked_up AS (
            SELECT referred.*, hosts.category AS of_host, names.category AS of_name,
                   nullif(parents.category, 'search') AS of_parent
            FROM referred LEFT JOIN source_categories AS hosts ON hosts.named = from_host
                          LEFT JOIN source_categories AS names ON names.named = name_of(from_host)
                          LEFT JOIN source_categories AS parents ON parents.named = parent_of(from_host)),
        derived AS (
            SELECT *, CASE WHEN NOT untold THEN {_told("utm_source")}
                           WHEN click_id IS NOT NULL THEN proved_source(click_id)
                           WHEN of_host IS NOT NULL THEN from_host
                           WHEN of_name IS NOT NULL THEN name_of(from_host)
                           WHEN of_parent IS NOT NULL THEN parent_of(from_host)
                           ELSE from_host END AS source,
                   CASE WHEN NOT untold THEN {_told("utm_medium")}
                        ELSE coalesce(proved_medium(click_id),
                                      medium_of(from_host, coalesce(of_host, of_name))) END AS medium
            FROM looked_up),
        categorised AS (
            SELECT derived.*, category FROM derived LEFT JOIN source_categories ON named = source),
        judged AS (
            SELECT *, CASE WHEN {given["channel"]} IS NULL
                        THEN channel_by_rules({", ".join(judged[field] for field in FIELDS)}) END AS judged
            FROM categorised)
        SELECT {", ".join(map(quoted, columns))},
               CASE WHEN judged = {literal(DIRECT)} AND source IS NULL AND medium IS NULL AND address = ''
                    THEN {literal(last_resort) if last_resort else "NULL"} ELSE judged END AS {quoted(BY_RULES)}
        FROM judged"""


def _told(name: str) -> str:
    return quoted(f"{name} as told")


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(literal, texts))}]"


def _case(conditions: Iterable[str]) -> str:
    """Return SQL for the first click id whose condition holds."""
    pairs = zip(CLICK_IDS, conditions, strict=True)
    return f"CASE {' '.join(f'WHEN {condition} THEN {literal(name)}' for name, condition in pairs)} END"
