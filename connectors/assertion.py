"""Assertions: a signed statement who we are, by which Salesforce gives an access token without a shared secret."""

from __future__ import annotations

from datetime import datetime, timedelta

import jwt

from features.errors import ConfigError

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523
VALID = timedelta(minutes=2)  # Salesforce believes none that is valid for more than three


def assertion(client_id: str, username: str, audience: str, key: str, at: datetime) -> str:
    """Return the statement that a connected app acts for a user, signed with a private key in PEM.

    Raises:
        ConfigError: when the key is none.

    """
    claims = {"iss": client_id, "sub": username, "aud": audience, "exp": at + VALID}
    try:
        return jwt.encode(claims, key, "RS256")
    except (jwt.PyJWTError, ValueError, TypeError):
        raise ConfigError(
            "SALESFORCE_PRIVATE_KEY is no RSA key in PEM (-----BEGIN PRIVATE KEY-----). Give the file that openssl "
            "made by SALESFORCE_PRIVATE_KEY_FILE."
        ) from None
