"""Pleasant names for people, companies and campaigns that do not exist."""

# fmt: off
FIRST_NAMES = (
    "Ada", "Amara", "Anouk", "Arjun", "Bela", "Bram", "Carla", "Chiara", "Daria", "Dilan", "Edda",
    "Elif", "Emeka", "Esther", "Farid", "Fleur", "Gianna", "Goran", "Hana", "Henrik", "Ines", "Ivo",
    "Jana", "Jonas", "Kaito", "Karim", "Lena", "Linus", "Lucia", "Malik", "Marta", "Mateo", "Mina",
    "Nadia", "Nils", "Noor", "Olga", "Oskar", "Paula", "Priya", "Quentin", "Rafael", "Rosa", "Sami",
    "Selma", "Sven", "Talia", "Tomas", "Uma", "Viktor", "Wanda", "Yara", "Yusuf", "Zora",
)
LAST_NAMES = (
    "Abara", "Alder", "Andersson", "Aydin", "Baptista", "Beck", "Bianchi", "Brandt", "Castell", "Chen",
    "Dahl", "Demir", "Dubois", "Eriksen", "Falk", "Ferrer", "Fontaine", "Garrido", "Haas", "Haddad",
    "Hoekstra", "Ibarra", "Iversen", "Jansen", "Kaya", "Keller", "Kimura", "Kovac", "Laurent",
    "Lindqvist", "Maas", "Marchetti", "Mensah", "Moreau", "Nakamura", "Nowak", "Okafor", "Olsen",
    "Petrov", "Quist", "Rao", "Rinaldi", "Romero", "Sato", "Schuster", "Silva", "Sorel", "Tamm",
    "Tanaka", "Vasquez", "Verhoeven", "Virtanen", "Weiss", "Yilmaz", "Zeman",
)
COMPANY_STEMS = (
    "Alder", "Amber", "Anchor", "Aspen", "Beacon", "Birch", "Bramble", "Brook", "Cedar", "Clover",
    "Cobalt", "Copper", "Coral", "Crane", "Delta", "Ember", "Fern", "Finch", "Flint", "Gable", "Granite",
    "Harbour", "Hazel", "Heron", "Ivory", "Juniper", "Kestrel", "Lantern", "Larch", "Linden", "Lotus",
    "Maple", "Marble", "Meadow", "Mill", "North", "Oak", "Opal", "Orchard", "Pebble", "Pine", "Quarry",
    "Quill", "Raven", "Reed", "River", "Rowan", "Saffron", "Slate", "Sparrow", "Stone", "Summit",
    "Thistle", "Tidal", "Vale", "Walnut", "Willow", "Wren",
)
# fmt: on
COMPANY_ENDINGS = {  # by industry, so that a name says what the company does
    "Software": ("Systems", "Labs", "Cloud"),
    "Manufacturing": ("Works", "Tools", "Components"),
    "Financial services": ("Capital", "Finance", "Insurance"),
    "Retail": ("Stores", "Goods", "Market"),
    "Healthcare": ("Health", "Clinics", "Diagnostics"),
    "Logistics": ("Freight", "Logistics", "Lines"),
    "Education": ("Academy", "Learning", "Institute"),
    "Hospitality": ("Hotels", "Kitchens", "Travel"),
}
COUNTRIES = ("Germany", "France", "Netherlands", "United Kingdom", "Spain", "Sweden", "Poland", "Italy")
CURRENCIES = {"United Kingdom": "GBP", "Sweden": "SEK", "Poland": "PLN"}  # the others pay in euros
RATES = {"GBP": 1.15, "SEK": 0.088, "PLN": 0.235}  # euros for one, on the first day
OWNERS = ("Anouk", "Dilan", "Henrik", "Lucia", "Oskar", "Yara")
PAGES = ("/", "/product", "/customers", "/blog/what-is-a-good-lead", "/blog/one-number", "/docs", "/about")
CHANNELS = (
    *("Organic Search", "Paid Search", "Brand Search", "Paid Social", "Display", "Email", "Events", "Referral"),
    *("AI Assistant", "Direct", "Sales outreach"),
)
CAMPAIGN_COLUMNS = ("campaign", "utm_source", "utm_medium", "utm_campaign", "referrer")
NO_CAMPAIGN = ((None,) * 5,)
CAMPAIGNS = {  # what is recorded of a click; the other channels carry nothing along
    "Organic Search": (
        (None, None, None, None, "https://www.google.com/"),
        (None, None, None, None, "https://www.bing.com/"),
    ),
    "Paid Search": tuple(
        (name, "google", "cpc", name.replace(" ", "-"), "https://www.google.com/")
        for name in ("lead scoring software", "attribution software", "alternatives")
    ),
    "Brand Search": (("our name", "google", "cpc", "our-name", "https://www.google.com/"),),
    "Paid Social": tuple(
        (name, "linkedin", "paid_social", name.replace(" ", "-"), "https://www.linkedin.com/")
        for name in ("spring launch", "customer stories", "benchmark report")
    ),
    "Display": tuple(
        (name, "adnetwork", "display", name.replace(" ", "-"), None)
        for name in ("come back to pricing", "come back to the demo")
    ),
    "Email": tuple(
        (name, "newsletter", "email", name.replace(" ", "-"), None)
        for name in ("welcome series", "monthly letter", "product news", "we miss you")
    ),
    "Events": tuple(
        (name, "webinar", "event", name.replace(" ", "-"), None)
        for name in ("forecasting that holds", "a clean pipeline", "which half works")
    ),
    "Referral": (
        (None, None, None, None, "https://partner.example/"),
        (None, None, None, None, "https://reviews.example/"),
    ),
    "AI Assistant": (
        (None, None, None, None, "https://chatgpt.com/"),
        (None, None, None, None, "https://gemini.google.com/"),
    ),
}
COST = {  # euros for one touch
    "Paid Search": 4.50,
    "Brand Search": 0.90,
    "Paid Social": 6.20,
    "Display": 1.10,
    "Email": 0.03,
    "Events": 38.00,
}
