"""People: what an e-mail address and a job title say of who somebody is.

The lists are short on purpose and hold what is common; a domain or title that is in none of them is not guessed at.
Sources: free mail providers as the sign-up forms of HubSpot and Salesforce refuse them by default, and the largest
national ones; throw-away domains from the largest entries of the public list disposable-email-domains (CC0);
seniority and department by the words of LinkedIn's and Apollo's search filters, in English and German.
"""

from __future__ import annotations

import re

EMAIL_KINDS = ("business", "education", "personal", "disposable")
PERSONAL_NAMES = frozenset(
    [
        "gmail",
        "googlemail",
        "yahoo",
        "ymail",
        "hotmail",
        "outlook",
        "live",
        "msn",
        "icloud",
        "gmx",
        "yandex",
        "rocketmail",
    ]
)
PERSONAL = frozenset(
    [
        "web.de",
        "mail.com",
        "mail.ru",
        "me.com",
        "mac.com",
        "aol.com",
        "aol.de",
        "proton.me",
        "protonmail.com",
        "pm.me",
        "zoho.com",
        "fastmail.com",
        "tutanota.com",
        "tuta.io",
        "hey.com",
        "t-online.de",
        "freenet.de",
        "arcor.de",
        "orange.fr",
        "wanadoo.fr",
        "laposte.net",
        "free.fr",
        "libero.it",
        "virgilio.it",
        "alice.it",
        "qq.com",
        "163.com",
        "126.com",
        "sina.com",
        "foxmail.com",
        "naver.com",
        "daum.net",
        "hanmail.net",
        "rediffmail.com",
        "bol.com.br",
        "uol.com.br",
        "terra.com.br",
        "comcast.net",
        "verizon.net",
        "att.net",
        "sbcglobal.net",
        "btinternet.com",
        "sky.com",
        "bigpond.com",
        "wp.pl",
        "o2.pl",
        "onet.pl",
        "interia.pl",
        "seznam.cz",
        "centrum.cz",
        "bluewin.ch",
        "hispeed.ch",
        "ziggo.nl",
        "planet.nl",
        "telenet.be",
    ]
)
DISPOSABLE_NAMES = frozenset(
    [
        "mailinator",
        "guerrillamail",
        "10minutemail",
        "temp-mail",
        "tempmail",
        "trashmail",
        "trash-mail",
        "yopmail",
        "sharklasers",
        "getnada",
        "maildrop",
        "dispostable",
        "throwawaymail",
        "fakeinbox",
        "mintemail",
        "mailnesia",
        "spamgourmet",
        "wegwerfmail",
        "moakt",
        "mohmal",
        "emailondeck",
        "tempr",
        "burnermail",
        "einrot",
        "discardmail",
    ]
)
EDUCATION = re.compile(r"\.edu(\.|$)|\.ac\.|^(uni|tu|hs|fh)-|university|universit|college")
SENIORITIES = ("executive", "vice_president", "director", "manager", "senior", "staff", "junior")
SENIORITY = (
    ("vice_president", r"\b(s?vp|evp|vice president|bereichsleit\w*)\b"),
    ("executive", r"\b(c[efitomrsdp]o|cpto|chief|(co-?)?founder|owner|president|managing director|inhaber\w*)\b"),
    ("executive", r"\b(gesch\w*ftsf\w*hr\w*|vorstand\w*|gr\w*nder\w*)\b"),
    ("director", r"\b(director|head|abteilungsleit\w*|direktor\w*|leiter\w*)\b"),
    ("manager", r"\b(manager\w*|lead|supervisor|teamleit\w*|teamlead)\b"),
    ("junior", r"\b(junior|intern|trainee|assistant|student|werkstudent\w*|praktikant\w*|azubi|apprentice)\b"),
    ("senior", r"\b(senior|sr|principal|staff engineer|architect)\b"),
)  # fmt: skip
DEPARTMENTS = (
    "sales", "marketing", "engineering", "it", "data", "product", "finance", "hr", "operations", "procurement", "legal",
    "support", "management",
)  # fmt: skip
DEPARTMENT = (
    ("marketing", r"\b(marketing|brand|growth|demand|content|seo|cmo|communications?|pr)\b"),
    ("sales", r"\b(sales|account executive|business development|bdr|sdr|revenue|cro|vertrieb\w*)\b"),
    ("data", r"\b(data|analytics?|machine learning|ml|ai|bi|scientist|cdo)\b"),
    ("product", r"\b(product|cpo|ux|ui|design\w*|produkt\w*)\b"),
    ("it", r"\b(it|information technology|systems?|security|infrastructure|cio|ciso|admin\w*|devops|network)\b"),
    ("engineering", r"\b(engineer\w*|developer|software|entwickl\w*|r&d|research|cto|technology|technical)\b"),
    ("finance", r"\b(financ\w*|accounting|accountant|controll\w*|cfo|treasur\w*|buchhalt\w*|finanz\w*)\b"),
    ("hr", r"\b(hr|human resources|people|talent|recruit\w*|personal\w*|chro)\b"),
    ("procurement", r"\b(procurement|purchas\w*|buyer|sourcing|einkauf\w*|supply chain)\b"),
    ("legal", r"\b(legal|counsel|lawyer|compliance|jurist\w*|recht\w*)\b"),
    ("support", r"\b(support|customer success|customer service|service|kundendienst)\b"),
    ("operations", r"\b(operations?|coo|logistics?|production|manufacturing|plant|betrieb\w*|produktion)\b"),
    ("management", r"\b(ceo|(co-?)?founder|owner|president|(managing|general) manager|gesch\w*ftsf\w*hr\w*)\b"),
)  # fmt: skip


def email_kind(email: str) -> str | None:
    """Return what kind of domain an address is of; None if it is no address.

    >>> email_kind("Ada@Example.com"), email_kind("b@gmail.com"), email_kind("c@yopmail.com"), email_kind("d@mit.edu")
    ('business', 'personal', 'disposable', 'education')
    """
    name, at, domain = email.strip().lower().rpartition("@")
    if not (name and at and "." in domain):
        return None
    *_, own = re.sub(r"\.(co|com|ac|org|net)(?=\.\w\w$)", "", domain).rpartition(".")[0].split(".")
    if own in DISPOSABLE_NAMES:
        return "disposable"
    if own in PERSONAL_NAMES or domain in PERSONAL:
        return "personal"
    return "education" if EDUCATION.search(domain) else "business"


def seniority(title: str) -> str | None:
    """Return the seniority that a job title names, "staff" if it names none; None if it is empty.

    >>> seniority("Head of Sales"), seniority("Software Engineer"), seniority("CTO & Co-Founder"), seniority(" ")
    ('director', 'staff', 'executive', None)
    """
    return _named(title, SENIORITY, "staff")


def department(title: str) -> str | None:
    """Return the department that a job title names, "other" if it names none; None if it is empty.

    >>> department("VP Marketing"), department("Machine Learning Engineer"), department("Pilot")
    ('marketing', 'data', 'other')
    """
    return _named(title, DEPARTMENT, "other")


def _named(title: str, patterns: tuple[tuple[str, str], ...], otherwise: str) -> str | None:
    words = re.sub(r"[_/.,()]+", " ", title.strip().lower())
    if not words.strip():
        return None
    return next((name for name, pattern in patterns if re.search(pattern, words)), otherwise)
