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
CAMPAIGNS = {  # the other channels run none
    "Paid Search": ("brand", "lead scoring software", "attribution software", "alternatives"),
    "Paid Social": ("spring launch", "customer stories", "benchmark report"),
    "Display": ("come back to pricing", "come back to the demo"),
    "Email": ("welcome series", "monthly letter", "product news", "we miss you"),
    "Events": ("webinar on forecasting", "webinar on clean pipelines", "webinar on attribution"),
}
