"""The demo's tenants and people: who may log in and what their channels are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from msgkit.testing.processes import write_private
from state import STATE, Secrets

USERS_FILE = STATE / "users.json"


@dataclass(frozen=True)
class WhatsAppNumber:
    """A number the sandbox plays; the ids are Meta's, and no secrets."""

    phone_number_id: str
    display_phone_number: str
    waba_id: str


@dataclass(frozen=True)
class Page:
    """A Facebook page the sandbox plays."""

    page_id: str
    name: str


@dataclass(frozen=True)
class InstagramAccount:
    """A professional account the sandbox plays: by the tenant's page if it has one, else by its own login."""

    ig_id: str
    username: str


@dataclass(frozen=True)
class Tenant:
    """A business of the demo with the bots it has in the sandbox."""

    id: str
    title: str
    bot_username: str
    viber_uri: str | None = None
    """None: it has no Viber bot."""
    whatsapp: WhatsAppNumber | None = None
    """None: it has no number there."""
    page: Page | None = None
    instagram: InstagramAccount | None = None


@dataclass(frozen=True)
class User:
    """Somebody who can log in."""

    login: str
    tenant: str
    name: str
    roles: tuple[str, ...]


TENANTS = (
    Tenant(
        "salon",
        "Салон краси «Мавка»",
        "mavka_salon_bot",
        viber_uri="mavka_salon",
        whatsapp=WhatsAppNumber("106540352242922", "+380 44 555 07 83", "102290129340398"),
        page=Page("682498302938465", "Салон краси «Мавка»"),
        instagram=InstagramAccount("17841405726653026", "mavka.salon"),
    ),
    Tenant(
        "clinic",
        "Клініка «Здоров'я»",
        "zdorovia_clinic_bot",
        instagram=InstagramAccount("17841400008460056", "zdorovia.clinic"),
    ),
)
META_APP_ID = "1517776481860111"
INSTAGRAM_APP_ID = "990602627938098"
"""Instagram Login has an app of its own beside the one of pages."""
HIDDEN_CLIENTS = {"maria": "maria_krasa"}
"""Whose phone WhatsApp does not tell: the demo shows a client with a phone and one without."""
USERS = (
    User("olena", "salon", "Олена Коваль", ("admin",)),
    User("ivan", "salon", "Іван Мельник", ("reception",)),
    User("viktor", "salon", "Віктор Шевчук", ("viber-only",)),
    User("nobody", "salon", "Немає Доступу", ()),
    User("maria", "clinic", "Марія Бондар", ("admin",)),
)


def write_users_file(secrets: Secrets, file: Path = USERS_FILE) -> None:
    """Writes what the gateway reads at its start; the same secrets give the same file."""
    tenants = [{"id": tenant.id, "title": tenant.title} for tenant in TENANTS]
    users = [{"id": f"{user.tenant}-{user.login}", **as_login(user, secrets)} for user in USERS]
    text = json.dumps({"tenants": tenants, "users": users}, ensure_ascii=False, indent=1)
    if not file.exists() or file.read_text() != text:
        write_private(file, text)


def as_login(user: User, secrets: Secrets) -> dict[str, object]:
    """The user with the password, as demo.json and the gateway name the fields."""
    return {
        "login": user.login,
        "password": secrets.values[f"PASSWORD_{user.login}"],
        "name": user.name,
        "roles": list(user.roles),
        "tenant": user.tenant,
    }


def sandbox_viber_bots(secrets: Secrets) -> list[dict[str, str]]:
    """The Viber bots that exist in the sandbox, as its settings name the fields."""
    return [
        {"token": secrets.values[f"VIBER_TOKEN_{tenant.id}"], "name": tenant.title, "uri": tenant.viber_uri}
        for tenant in TENANTS
        if tenant.viber_uri is not None
    ]


def sandbox_whatsapp_numbers(secrets: Secrets, callback_url: str | None = None) -> list[dict[str, object]]:
    """The WhatsApp numbers of the sandbox, as its settings name the fields.

    Args:
        callback_url: of the app, where nobody sets it in the sandbox's dashboard as `make up` does.
    """
    return [
        {
            "phone_number_id": tenant.whatsapp.phone_number_id,
            "display_phone_number": tenant.whatsapp.display_phone_number,
            "waba_id": tenant.whatsapp.waba_id,
            "token": secrets.values[f"WHATSAPP_TOKEN_{tenant.id}"],
            "app_secret": secrets.values["META_APP_SECRET"],
            "verify_token": secrets.values["META_VERIFY_TOKEN"],
            "name": tenant.title,
            "coexistence": True,
            "hidden_clients": HIDDEN_CLIENTS,
            "callback_url": callback_url,
        }
        for tenant in TENANTS
        if tenant.whatsapp is not None
    ]


def sandbox_pages(secrets: Secrets, callback_url: str | None = None) -> list[dict[str, object]]:
    """The Facebook pages of the sandbox, as its settings name the fields.

    Args:
        callback_url: of the app, where nobody sets it in the sandbox's dashboard as `make up` does.
    """
    return [
        {
            "page_id": tenant.page.page_id,
            "name": tenant.page.name,
            "token": secrets.values[f"PAGE_TOKEN_{tenant.id}"],
            **_app_of_pages(secrets),
            "callback_url": callback_url,
            "human_agent": True,
        }
        for tenant in TENANTS
        if tenant.page is not None
    ]


def sandbox_instagram_accounts(secrets: Secrets, callback_url: str | None = None) -> list[dict[str, object]]:
    """The Instagram accounts of the sandbox, as its settings name the fields.

    Args:
        callback_url: of both apps, where nobody sets it in the sandbox's dashboard as `make up` does.
    """
    accounts: list[dict[str, object]] = []
    for tenant in TENANTS:
        if tenant.instagram is None:
            continue
        shared = {
            "ig_id": tenant.instagram.ig_id,
            "username": tenant.instagram.username,
            "name": tenant.title,
            "callback_url": callback_url,
            "human_agent": True,
        }
        if tenant.page is not None:
            by_page = {"login": "page", "page_id": tenant.page.page_id}
            token = secrets.values[f"PAGE_TOKEN_{tenant.id}"]
            accounts.append({**shared, **by_page, "token": token, **_app_of_pages(secrets)})
        else:
            token = secrets.values[f"INSTAGRAM_TOKEN_{tenant.id}"]
            app = {
                "app_id": INSTAGRAM_APP_ID,
                "app_secret": secrets.values["INSTAGRAM_APP_SECRET"],
                "verify_token": secrets.values["INSTAGRAM_VERIFY_TOKEN"],
            }
            accounts.append({**shared, "login": "instagram", "token": token, **app})
    return accounts


def _app_of_pages(secrets: Secrets) -> dict[str, str]:
    return {
        "app_id": META_APP_ID,
        "app_secret": secrets.values["META_APP_SECRET"],
        "verify_token": secrets.values["META_VERIFY_TOKEN"],
    }


def sandbox_bots(secrets: Secrets) -> list[dict[str, str]]:
    """The bots that exist in the sandbox, as its settings name the fields."""
    return [
        {
            "token": secrets.values[f"BOT_TOKEN_{tenant.id}"],
            "username": tenant.bot_username,
            "name": tenant.title,
        }
        for tenant in TENANTS
    ]
