"""An account as it is stored and as it is used: secrets are sealed on the way in, opened on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from msgkit.connector.contract import Account, AccountAlert
from msgkit.connector.credentials import Keyring
from msgkit.contracts.internal_api import AccountSettings
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger, register_secret
from msgkit.runtime.mongo import Document

log = get_logger(__name__)

SECRET = "webhook_secret"  # noqa: S105 - the name of a field
PREVIOUS = "previous_secret"


class AccountSeal:
    """Seals with the keys of one ingest service."""

    def __init__(self, keyring: Keyring, clock: Clock = utc_now) -> None:
        self._keyring = keyring
        self._clock = clock

    def sealed(self, account: Account, secret: str, field: str) -> str:
        """The secret as it may be stored, for this field of this account only."""
        return self._keyring.seal(
            secret, tenant_id=account.tenant_id, channel_id=account.channel_id, field=field
        )

    def opened(self, document: Document) -> Account:
        """The stored account with its secrets.

        Raises:
            EnvelopeInvalid: a secret does not open: another key, or it was changed.
        """
        channel_id, tenant_id = str(document["_id"]), str(document["tenant_id"])

        def opened(envelope: str, field: str) -> str:
            secret = self._keyring.open(envelope, tenant_id=tenant_id, channel_id=channel_id, field=field)
            register_secret(secret)
            return secret

        is_rotating = bool(document.get("is_rotating"))
        previous_until = document.get("previous_until")
        holds = is_rotating or (previous_until is not None and self._clock() < previous_until)
        return Account(
            channel_id=channel_id,
            tenant_id=tenant_id,
            kind=document["kind"],
            account_id=document["account_id"],
            account_name=document["account_name"],
            api_base=document["api_base"],
            state=document["state"],
            problem=document["problem"],
            paused_until=document["paused_until"],
            credentials={name: opened(value, name) for name, value in document["credentials"].items()},
            webhook_secret=opened(document[SECRET], SECRET),
            # It was sealed as the secret it was then.
            previous_secret=opened(document[PREVIOUS], SECRET) if holds else None,
            is_rotating=is_rotating,
            credentials_rev=document.get("credentials_rev", 0),
            settings=_settings(channel_id, document.get("settings")),
            also_known_as=tuple(document.get("also_known_as", ())),
            alert=_alert(document),
            renewal_problem=document.get("renewal_problem"),
        )


def _alert(document: Document) -> AccountAlert | None:
    kept = document.get("alert")
    if kept is None:
        return None
    return AccountAlert(kept["problem"], kept["is_disconnected"], document["alerted_at"])


def _settings(channel_id: str, kept: Mapping[str, Any] | None) -> AccountSettings | None:
    if kept is None:
        return None
    try:
        return AccountSettings.model_validate(kept)
    except ValidationError as exc:
        # Of another version of ours: messages must come in all the same. Saving the channel mends it.
        log.error(  # noqa: TRY400 - the values are the tenant's own words
            "account_settings_unreadable", channel_id=channel_id, faults=exc.error_count()
        )
        return None
