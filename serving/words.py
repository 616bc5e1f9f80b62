"""What features, kinds of touches and names of the contract are called, on pages, in answers and in a CRM alike."""

from __future__ import annotations

import re

ATTRIBUTE = re.compile(r"^(\w+) of the lead, as known then")
OF_KIND = re.compile(r"^Touches of kind (\w+)")
STAGES = {"mql": "MQL", "sql": "SQL"}
KINDS = {
    "ad_click": "Clicked an ad", "email_click": "Clicked in an e-mail", "email_sent": "E-mail sent",
    "email_open": "Opened an e-mail", "page_view": "Viewed a page", "pricing_view": "Looked at the prices",
    "organic_visit": "Came from a search", "referral_visit": "Came by a referral", "form_fill": "Filled in a form",
    "assistant_visit": "Came from an AI assistant", "webinar_attended": "Attended a webinar",
    "sales_call": "Sales called", "sales_meeting": "Met with sales", "demo_request": "Asked for a demo",
}  # fmt: skip


def kind(name: str) -> str:
    """Return what a kind of touch is called.

    >>> kind("sales_call"), kind("trade_show")
    ('Sales called', 'Trade show')
    """
    return KINDS.get(name) or plain(name)


def plain(name: str) -> str:
    """Return a name of the contract as words.

    >>> plain("last_non_direct"), plain("mql"), plain("markov:1")
    ('Last non direct', 'MQL', 'Markov 1')
    """
    return STAGES.get(name) or (name[:1].upper() + name[1:]).replace("_", " ").replace(":", " ")


def about(text: str) -> str:
    """Return what a feature means, with attributes and kinds of touches called as people call them.

    >>> about("landing_page of the lead, as known then"), about("Touches of kind email_open in the last 7 days: 2")
    ('Landing page', 'Opened an e-mail in the last 7 days: 2')
    """
    return OF_KIND.sub(lambda match: kind(match[1]), ATTRIBUTE.sub(lambda match: plain(match[1]), text))
