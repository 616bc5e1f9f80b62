"""[connectors]: the systems that history comes from and scores go back to."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from features.settings.section import Section


class Connector(Section):
    """What every connected system has."""

    mapping: Path | None = Field(
        None, description="a mapping of your own, in place of connectors/mappings/", examples=["our-mapping.toml"]
    )
    leave_out: list[str] = Field(
        [], description="streams that are not read, such as those that the account does not have", examples=[["calls"]]
    )
    share_of_quota: float = Field(0.5, description="share of a day's calls that may be ours", gt=0, le=1)
    band: float = Field(0.02, description="a probability is written again once it moved so far", ge=0)


class HubSpot(Connector):
    """HubSpot; HUBSPOT_TOKEN, or the _CLIENT_ID, _CLIENT_SECRET and _REFRESH_TOKEN, are in the environment."""

    base_url: str = Field("https://api.hubapi.com", description="address of the interface")
    version: str = Field("2026-09", description="of the interface, as its paths name it: 2026-09, 2026-03 or v3")
    calls_a_day: int = Field(650_000, description="limit of the account", gt=0)
    calls_in_10_seconds: int = Field(190, description="limit of the account", gt=0)
    searches_a_second: int = Field(4, description="limit of the account", gt=0)
    web_events: bool = Field(False, description="read page visits, a call for each contact; Enterprise accounts only")
    public_url: str = Field(
        "", description="where HubSpot sends its webhooks to, as it is written there: they are signed with it",
        examples=["https://touchstone.example.com/webhooks/hubspot"],
    )  # fmt: skip


class Salesforce(Connector):
    """Salesforce; SALESFORCE_CLIENT_ID and _CLIENT_SECRET, or _USERNAME and _PRIVATE_KEY, are in the environment."""

    base_url: str = Field(
        "", description="your My Domain address", examples=["https://example.my.salesforce.com"]
    )  # fmt: skip
    login_url: str = Field(
        "https://login.salesforce.com",
        description="whom what we sign with a private key is for; https://test.salesforce.com for a sandbox",
    )
    version: str = Field("62.0", description="of the interface")
    calls_a_day: int = Field(100_000, description="limit of the organization, of 24 hours", gt=0)
    calls_in_20_seconds: int = Field(100, description="our own limit; Salesforce has none but for slow calls", gt=0)
    bulk_from: int = Field(2_000, description="so many changed scores of one object are written as a bulk job", gt=0)


class Marketo(Connector):
    """Marketo; MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET are in the environment."""

    base_url: str = Field(
        "", description="your instance's address, without /rest", examples=["https://123-abc-456.mktorest.com"]
    )  # fmt: skip
    version: str = Field("v1", description="of the interface")
    calls_a_day: int = Field(50_000, description="limit of the subscription", gt=0)
    calls_in_20_seconds: int = Field(50, description="half of what Marketo lets everybody together do", gt=0)
    bulk_from: int = Field(3_000, description="so many changed scores are written as an import of files", gt=0)


class Mailchimp(Connector):
    """Mailchimp; MAILCHIMP_API_KEY is in the environment; its end, such as us1, tells the address."""

    base_url: str = Field(
        "", description="address of the interface; unset: https://<end of the key>.api.mailchimp.com",
        examples=["https://us1.api.mailchimp.com"],
    )  # fmt: skip
    version: str = Field("3.0", description="of the interface")
    audience: str = Field("", description="id of the audience whose members are read", examples=["a1b2c3d4e5"])
    calls_a_day: int = Field(1_000_000, description="our own limit; Mailchimp has none", gt=0)
    calls_a_second: int = Field(10, description="our own limit; Mailchimp limits only calls at one time, to 10", gt=0)


class Connectors(Section):
    """The systems that history comes from and scores go back to."""

    hubspot: HubSpot = HubSpot()  # type: ignore[call-arg]  # every field has a default
    salesforce: Salesforce = Salesforce()  # type: ignore[call-arg]
    marketo: Marketo = Marketo()  # type: ignore[call-arg]
    mailchimp: Mailchimp = Mailchimp()  # type: ignore[call-arg]
