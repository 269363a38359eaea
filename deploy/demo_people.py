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
class Tenant:
    """A business of the demo with the bots it has in the sandbox."""

    id: str
    title: str
    bot_username: str
    viber_uri: str | None = None
    """None: it has no Viber bot."""
    whatsapp: WhatsAppNumber | None = None
    """None: it has no number there."""


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
    ),
    Tenant("clinic", "Клініка «Здоров'я»", "zdorovia_clinic_bot"),
)
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
