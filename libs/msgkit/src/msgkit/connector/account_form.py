"""What the form of an account must hold: checked before the messenger is asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgkit.connector.contract import Account, Connector, ServesApp, manifests_of
from msgkit.connector.settings import AppKeys
from msgkit.contracts.internal_api import ConnectAccount
from msgkit.runtime.problems import Problem

CREDENTIAL_MAX_CHARS = 4096
APP_SECRET = "app_secret"  # noqa: S105 - the name of a field
"""The credential of an account whose webhooks come from an app of its own."""
_HINT_CHARS = 4
_HINT_MIN_CHARS = 12
"""A shorter secret shows nothing of itself."""


class AccountForm:
    """The fields of all kinds of account of one connector."""

    def __init__(self, connector: Connector[Any], api_bases: Collection[str], app: AppKeys) -> None:
        self._connector = connector
        self._manifests = {manifest.kind: manifest for manifest in manifests_of(connector)}
        self._api_bases = {base.rstrip("/") for base in api_bases}
        self._app = app

    def credentials(self, order: ConnectAccount) -> dict[str, str]:
        """What the form says, each field as the connector wants it.

        Raises:
            Problem: 422, what is missing, unknown or too long.
        """
        manifest = self._manifests.get(order.kind)
        if manifest is None:
            raise Problem(422, "unknown_kind", "Цей сервіс не підключає такий месенджер.")
        schema = manifest.credentials_schema
        wanted, given = set(schema["properties"]), set(order.credentials)
        missing = sorted(name for name in schema["required"] if not order.credentials.get(name, "").strip())
        if missing or given - wanted:
            raise Problem(
                422,
                "credentials_invalid",
                "Заповніть поля доступу до месенджера.",
                missing=missing,
                unknown=sorted(given - wanted),
            )
        credentials = {name: value.strip() for name, value in order.credentials.items()}
        if any(len(value) > CREDENTIAL_MAX_CHARS for value in credentials.values()):
            raise Problem(
                422, "credentials_invalid", "Ключ доступу задовгий: перевірте, що скопійовано лише його."
            )
        return credentials

    def require_app_secret(self, account: Account) -> None:
        """Without the secret of an app nobody could tell its webhooks from anybody's.

        Raises:
            Problem: 422, the field to fill in.
        """
        connector = self._connector
        if not isinstance(connector, ServesApp) or self._app.secrets or connector.needs_own_address(account):
            return
        field = self._manifests[account.kind].credentials_schema["properties"].get(APP_SECRET, {})
        raise Problem(
            422,
            "credentials_invalid",
            f"Заповніть поле «{field.get('title', APP_SECRET)}»: це секрет застосунку, "
            "без якого не перевірити, що повідомлення справжні.",
            missing=[APP_SECRET],
            unknown=[],
        )

    def base(self, api_base: str | None) -> str | None:
        """The other address of the messenger's API, if there is one.

        Raises:
            Problem: 422, it is not on the allow-list.
        """
        if api_base is None:
            return None
        base = api_base.rstrip("/")
        if base not in self._api_bases:
            raise Problem(
                422,
                "api_base_not_allowed",
                "Такої адреси API немає в дозволеному списку. Зверніться до адміністратора системи.",
            )
        return base


def hint(credentials: dict[str, str]) -> str:
    """What is shown of stored credentials."""
    first = next(iter(credentials.values()), "")
    return f"…{first[-_HINT_CHARS:]}" if len(first) >= _HINT_MIN_CHARS else "…"
