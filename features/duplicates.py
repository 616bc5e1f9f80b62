"""Duplicates: leads that seem to be one person, for a user to confirm; nothing is merged here.

Leads are compared only within blocks, of those who share an e-mail address, a phone number, or a company and the start
of a name; a block of very many shares something that says nothing of a person (a placeholder, a form's default), and is
passed over. Of each lead the surest of the older ones is proposed, with the rule that found it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from features.contract import pointer
from features.errors import DataError
from features.history import microseconds
from features.lake import Lake
from features.merges import at, tenures

MOST = 100  # leads of a block
ATTRIBUTES = {  # what attributes are called in other systems, in small letters without spaces and signs
    "email": ("email", "emailaddress", "workemail", "businessemail", "mail"),
    "phone": ("phone", "phonenumber", "mobile", "mobilephone", "mobilephonenumber", "telephone", "workphone"),
    "name": ("name", "fullname", "contactname", "leadname"),
    "first_name": ("firstname", "givenname"),
    "last_name": ("lastname", "surname", "familyname"),
    "company": ("company", "companyname", "account", "accountname", "organization", "organisation"),
}
LEGAL = "gmbh|mbh|inc|incorporated|ltd|limited|llc|llp|ag|kg|ug|se|sa|sas|sarl|srl|spa|bv|nv|ab|as|oy|plc|corp|co"
ROLES = "info|office|sales|contact|hello|admin|support|mail|kontakt|team|marketing|service|noreply"
MACROS = rf"""
CREATE TEMP MACRO plain(t) AS trim(regexp_replace(lower(strip_accents(t)), '[^\p{{L}}\p{{N}}]+', ' ', 'g'));
CREATE TEMP MACRO domain_of(mail) AS regexp_replace(split_part(mail, '@', 2), '^googlemail\.com$', 'gmail.com');
CREATE TEMP MACRO local_of(mail) AS regexp_replace(split_part(mail, '@', 1), '\+.*$', '');
CREATE TEMP MACRO email_of(mail) AS CASE WHEN mail LIKE '_%@_%._%' THEN
    CASE WHEN domain_of(mail) = 'gmail.com' THEN replace(local_of(mail), '.', '') ELSE local_of(mail) END
    || '@' || domain_of(mail) END;
CREATE TEMP MACRO phone_of(t) AS ltrim(regexp_replace(t, '\D', '', 'g'), '0');
CREATE TEMP MACRO company_of(t) AS trim(regexp_replace(' ' || plain(t) || ' ', '( ({LEGAL}))+ $', ' '));
CREATE TEMP MACRO sorted_words(t) AS array_to_string(list_sort(string_split(t, ' ')), ' ');
CREATE TEMP MACRO same_phone(a, b) AS least(length(a), length(b)) >= 8 AND (suffix(a, b) OR suffix(b, a));
CREATE TEMP MACRO words_alike(a, b) AS greatest(
    jaro_winkler_similarity(a, b), jaro_winkler_similarity(sorted_words(a), sorted_words(b)));
CREATE TEMP MACRO initial_of(a, b) AS (regexp_matches(a, '^. ') OR regexp_matches(b, '^. '))
    AND a[1] = b[1] AND regexp_replace(a, '^\S+ ', '') = regexp_replace(b, '^\S+ ', '');
"""
LATEST = """
    SELECT lead_id, min(created_at) OVER (PARTITION BY lead_id) AS created_at, account_id, attributes
    FROM leads WHERE observed_at < $1
    QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY observed_at DESC, row_hash DESC) = 1
"""
CARDS = """
    SELECT lead_id, created_at, email_of(lower(trim({email}))) AS email, phone_of({phone}) AS phone,
           nullif(plain(coalesce({name}, concat_ws(' ', {first_name}, {last_name}))), '') AS name,
           nullif(coalesce(company_of({company}), plain(account_id)), '') AS company
    FROM latest ANTI JOIN merged USING (lead_id)
"""
BLOCKS = f"""
    WITH keys AS (
        SELECT lead_id, unnest(list_distinct(list_concat([
            'email ' || email,
            CASE WHEN length(phone) >= 8 THEN 'phone ' || phone[-8:] END],
            list_transform(string_split(name, ' '), lambda word: 'company ' || company || ' ' || word[:3])))) AS key
        FROM cards)
    SELECT key, lead_id FROM keys WHERE key IS NOT NULL
    QUALIFY count(*) OVER (PARTITION BY key) BETWEEN 2 AND {MOST}
"""
# How sure each reason is, is what share of its proposals is true in benchmarks/duplicates.py, or less.
PAIRS = f"""
    WITH pairs AS (
        SELECT DISTINCT older.lead_id AS lead_id, newer.lead_id AS duplicate_id
        FROM blocks AS a JOIN blocks AS b USING (key)
        JOIN cards AS older ON older.lead_id = a.lead_id JOIN cards AS newer ON newer.lead_id = b.lead_id
        WHERE (older.created_at, older.lead_id) < (newer.created_at, newer.lead_id)),
    compared AS (
        SELECT duplicate_id, lead_id,
               coalesce(a.email = b.email, false) AS email,
               coalesce(regexp_matches(a.email, '^({ROLES})@'), false) AS shared,
               coalesce(same_phone(a.phone, b.phone), false) AS phone,
               coalesce(words_alike(a.name, b.name), -1) AS name,
               coalesce(initial_of(a.name, b.name), false) AS initial,
               coalesce(a.company = b.company, false) AS company
        FROM pairs JOIN cards AS a USING (lead_id) JOIN cards AS b ON b.lead_id = duplicate_id),
    judged AS (
        SELECT duplicate_id, lead_id, unnest(CASE
            WHEN email AND NOT shared THEN {{why: 'same e-mail', sure: 0.98}}
            WHEN phone AND name >= 0.93 THEN {{why: 'same phone, similar name', sure: 0.98}}
            WHEN phone AND initial THEN {{why: 'same phone, same name but for an initial', sure: 0.95}}
            WHEN name = 1 AND company THEN {{why: 'same name, same company', sure: 0.95}}
            WHEN name >= 0.95 AND company THEN {{why: 'similar name, same company', sure: 0.85}}
            WHEN initial AND company THEN {{why: 'same company, same name but for an initial', sure: 0.8}}
            END) FROM compared ANTI JOIN told USING (duplicate_id, lead_id))
    SELECT duplicate_id, lead_id, CAST($1 AS TIMESTAMPTZ) AS observed_at, why, CAST(sure AS DOUBLE) AS sure
    FROM judged JOIN cards USING (lead_id) WHERE why IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY duplicate_id ORDER BY sure DESC, created_at, lead_id) = 1
    ORDER BY sure DESC, lead_id, duplicate_id
"""


def duplicates(lake: Lake, as_of: datetime) -> pa.Table:
    """Return proposals as rows of ``identities``, the surest first, each with ``why`` and how ``sure`` it is (0 to 1).

    The older of two leads survives. What the lake's identities already say of two leads is not proposed again,
    whether they were merged or unmerged.

    Raises:
        DataError: when leads have no attribute by which to tell people.

    """
    with lake.connection(("leads", "identities")) as connection:
        connection.execute(MACROS)
        connection.execute(f"CREATE TEMP TABLE latest AS {LATEST}", [as_of])
        told = connection.sql("SELECT * FROM identities WHERE duplicate_id IS NOT NULL").to_arrow_table()
        whose = at(tenures(told), microseconds(as_of)).to_pylist()
        merged = pa.table({"lead_id": [row["record"] for row in whose if row["record"] != row["lead_id"]]})
        connection.register("merged", merged.cast(pa.schema([("lead_id", pa.string())])))
        connection.register("told", told.select(["duplicate_id", "lead_id"]))
        names = connection.sql("SELECT DISTINCT unnest(json_keys(attributes)) AS name FROM latest ORDER BY name")
        fields = _fields([str(name) for (name,) in names.fetchall()])
        connection.execute(f"CREATE TEMP TABLE cards AS {CARDS.format_map(fields)}")
        connection.execute(f"CREATE TEMP TABLE blocks AS {BLOCKS}")
        return connection.sql(PAIRS, params=[as_of]).to_arrow_table()


def _fields(names: Sequence[str]) -> Mapping[str, str]:
    """Return the SQL of what a lead is known by, from the names of the leads' attributes."""
    found = {field: list(_called(names, called)) for field, called in ATTRIBUTES.items()}
    if not any(found.values()):
        raise DataError(
            f"No attribute of the leads tells who they are: there is {', '.join(names) or 'none'}. Ingest email, "
            "phone, name or company, or map them under [sources.columns] of touchstone.toml."
        )
    return {
        field: f"coalesce(NULL, {', '.join(paths)})" if paths else "NULL::VARCHAR" for field, paths in found.items()
    }


def _called(names: Sequence[str], called: Sequence[str]) -> Iterator[str]:
    for one in called:
        for name in names:
            if "".join(filter(str.isalnum, name.lower())) == one:
                yield f"nullif(trim(json_extract_string(attributes, {pointer(name)})), '')"
