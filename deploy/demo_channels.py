"""The demo's channels: what an administrator types in, and how whoever plays the messenger signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demo_people import INSTAGRAM_APP_ID, META_APP_ID, Tenant
from roster import SANDBOX_PATHS
from state import Secrets

_WELCOME = "Вітаємо! Напишіть, на яку послугу й коли вас записати, або натисніть кнопку."
_OFFICE = ("admin", "reception")
_META_SIGNING = {
    "header": "X-Hub-Signature-256",
    "algorithm": "sha256= and hmac-sha256, hex, of the body",
}


@dataclass(frozen=True)
class AppCallback:
    """The callback of an app that serves all its accounts: the vendor saves it once in Meta's dashboard."""

    dashboard: str
    """Where below `/control/` the sandbox has this account's dashboard."""
    path: str
    """Of our service, e.g. `webhooks/whatsapp`."""


@dataclass(frozen=True)
class DemoChannel:
    """One channel of the demo, as the sandbox plays its messenger."""

    kind: str
    service: str
    public: int
    """Offset of the port its webhooks come to."""
    api_path: str
    """Where below the sandbox's address its API begins."""
    title: str
    credentials: Mapping[str, str]
    signing: Mapping[str, str]
    signing_of_webhook: tuple[str, ...] = ()
    """What more of it the sandbox knows alone, by the names of its answer."""
    roles: tuple[str, ...] = _OFFICE
    welcome: Mapping[str, object] = field(default_factory=dict)
    callback: AppCallback | None = None

    def what_signs(self, webhook: Mapping[str, Any]) -> dict[str, str]:
        """What whoever plays the messenger needs for its webhooks to be believed."""
        return {**self.signing, **{name: webhook[name] for name in self.signing_of_webhook}}


def channels_of(tenant: Tenant, secrets: Secrets) -> list[DemoChannel]:
    """The tenant's channels, in the order the window shows them."""
    found = [_telegram(tenant, secrets)]
    if tenant.viber_uri is not None:
        found.append(_viber(tenant, secrets))
    if tenant.whatsapp is not None:
        found.append(_whatsapp(tenant, secrets))
    if tenant.page is not None:
        found.append(_facebook(tenant, secrets))
    if tenant.instagram is not None:
        found.append(_instagram(tenant, secrets))
    return found


def _telegram(tenant: Tenant, secrets: Secrets) -> DemoChannel:
    return DemoChannel(
        kind="telegram_bot",
        service="ingest-telegram",
        public=1,
        api_path=SANDBOX_PATHS["ingest-telegram"][0],
        title=tenant.title,
        credentials={"token": secrets.values[f"BOT_TOKEN_{tenant.id}"]},
        signing={"header": "X-Telegram-Bot-Api-Secret-Token"},
        signing_of_webhook=("secret_token",),
    )


def _viber(tenant: Tenant, secrets: Secrets) -> DemoChannel:
    token = secrets.values[f"VIBER_TOKEN_{tenant.id}"]
    return DemoChannel(
        kind="viber_bot",
        service="ingest-viber",
        public=2,
        api_path=SANDBOX_PATHS["ingest-viber"][0],
        title=f"{tenant.title} у Viber",
        credentials={"token": token},
        signing={
            "header": "X-Viber-Content-Signature",
            "algorithm": "hmac-sha256, hex, of the body",
            "key": token,
        },
        roles=(*_OFFICE, "viber-only"),
        welcome={"text": _WELCOME, "buttons": [{"text": "Записатися", "value": "Хочу записатися"}]},
    )


def _whatsapp(tenant: Tenant, secrets: Secrets) -> DemoChannel:
    number = tenant.whatsapp
    assert number is not None
    return DemoChannel(
        kind="whatsapp",
        service="ingest-whatsapp",
        public=4,
        api_path=SANDBOX_PATHS["ingest-whatsapp"][0],
        title="WhatsApp салону",
        credentials={
            "phone_number_id": number.phone_number_id,
            "waba_id": number.waba_id,
            "access_token": secrets.values[f"WHATSAPP_TOKEN_{tenant.id}"],
        },
        signing=_META_SIGNING,
        signing_of_webhook=("app_secret", "verify_token", "phone_number_id", "waba_id"),
        callback=AppCallback(f"whatsapp/{number.phone_number_id}", "webhooks/whatsapp"),
    )


def _facebook(tenant: Tenant, secrets: Secrets) -> DemoChannel:
    page = tenant.page
    assert page is not None
    return DemoChannel(
        kind="facebook",
        service="ingest-meta",
        public=3,
        api_path=SANDBOX_PATHS["ingest-meta"][0],
        title=f"{tenant.title} у Messenger",
        credentials={"page_id": page.page_id, "access_token": secrets.values[f"PAGE_TOKEN_{tenant.id}"]},
        signing={**_META_SIGNING, **_app(secrets, "META"), "object": "page", "page_id": page.page_id},
        callback=AppCallback(f"meta/{page.page_id}", "webhooks/facebook"),
    )


def _instagram(tenant: Tenant, secrets: Secrets) -> DemoChannel:
    """Through the tenant's page if it has one, else through Instagram Login, which has an app of its own."""
    account, page = tenant.instagram, tenant.page
    assert account is not None
    by_page, by_login = SANDBOX_PATHS["ingest-meta"]
    if page is not None:
        token = {"page_id": page.page_id, "access_token": secrets.values[f"PAGE_TOKEN_{tenant.id}"]}
    else:
        token = {"access_token": secrets.values[f"INSTAGRAM_TOKEN_{tenant.id}"]}
    app = _app(secrets, "INSTAGRAM" if page is None else "META")
    return DemoChannel(
        kind="instagram",
        service="ingest-meta",
        public=3,
        api_path=by_login if page is None else by_page,
        title=f"Instagram @{account.username}",
        credentials=token,
        signing={**_META_SIGNING, **app, "object": "instagram", "ig_id": account.ig_id},
        callback=AppCallback(f"meta/{account.ig_id}", "webhooks/instagram"),
    )


def _app(secrets: Secrets, name: str) -> dict[str, str]:
    app_id = {"META": META_APP_ID, "INSTAGRAM": INSTAGRAM_APP_ID}[name]
    return {
        "app_id": app_id,
        "app_secret": secrets.values[f"{name}_APP_SECRET"],
        "verify_token": secrets.values[f"{name}_VERIFY_TOKEN"],
    }
