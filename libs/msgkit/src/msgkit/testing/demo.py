"""The demo of a test system: its businesses and logins, and their bots, numbers, pages and accounts.

The sandbox plays these, and `channel_setup` connects them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

TENANTS = (
    {"id": "salon", "title": "Салон краси «Мавка»"},
    {"id": "clinic", "title": "Клініка «Здоров'я»"},
)


@dataclass(frozen=True)
class Account:
    """A login of the embedded users."""

    id: str
    tenant: str
    login: str
    name: str
    password: str
    roles: tuple[str, ...]


ACCOUNTS = (
    Account("u-olena", "salon", "olena", "Олена", "olena-password-1", ("admin",)),
    Account("u-ivan", "salon", "ivan", "Іван", "ivan-password-1", ("reception",)),
    Account("u-viktor", "salon", "viktor", "Віктор", "viktor-password-1", ("viber-only",)),
    Account("u-nobody", "salon", "nobody", "Никон", "nobody-password-1", ()),
    Account("u-maria", "clinic", "maria", "Марія", "maria-password-1", ("admin",)),
)
BOTS = {
    "salon": {
        "token": "7000000001:AAsalon-bot-of-the-sandbox-0123456789",
        "username": "mavka_bot",
        "name": "Мавка",
    },
    "clinic": {
        "token": "7000000002:AAclinic-bot-of-the-sandbox-012345678",
        "username": "zdorov_bot",
        "name": "Здоров'я",
    },
}
VIBER_BOT = {"token": "4453b6ac12345678-e02c5f12174805f9-daec9cbb5448c51f", "name": "Мавка", "uri": "mavka"}
"""The salon's bot at Viber."""
VIBER_WELCOME = {"text": "Вітаємо в «Мавці»!", "buttons": [{"text": "Записатися", "value": "Запис"}]}
"""What it says to whoever opens the chat."""
WHATSAPP_NUMBER: Json = {
    "phone_number_id": "106540352242922",
    "display_phone_number": "+380 44 555 07 83",
    "waba_id": "102290129340398",
    "token": "EAAGsalonNumberOfTheSandbox0123456789",
    "app_secret": "9e107d9d372bb6826bd81d3542a419d6",
    "verify_token": "перевір-мене",
    "name": "Мавка",
    "coexistence": True,
}
"""The salon's number at WhatsApp, which its owner uses in the Business app as well."""
SPARE_BOTS = (
    {
        "token": "7000000003:AAspare-bot-of-the-sandbox-0123456789",
        "username": "kalyna_bot",
        "name": "Калина",
    },
    {
        "token": "7000000004:AAsecond-spare-bot-of-the-sandbox-01234",
        "username": "barvinok_bot",
        "name": "Барвінок",
    },
    {
        "token": "7000000005:AAthird-spare-bot-of-the-sandbox-012345",
        "username": "ruta_bot",
        "name": "Рута",
    },
)
"""Bots of the sandbox that no channel has, for tests that connect one."""
_APP_OF_PAGES = {
    "app_id": "1517776481860111",
    "app_secret": "4f5a1c0de2b94a7f8d3e6c1b0a9f8e7d",
    "verify_token": "перевір-сторінку",
}
_APP_OF_LOGINS = {
    "app_id": "990602627938098",
    "app_secret": "c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8",
    "verify_token": "перевір-інстаграм",
}
PAGE: Json = {
    "page_id": "682498302938465",
    "name": "Мавка",
    "token": "EAAGsalonPageOfTheSandbox0123456789",
    **_APP_OF_PAGES,
    "human_agent": False,
}
"""The salon's page: nobody granted it late answers."""
INSTAGRAM: Json = {
    "ig_id": "17841405726653026",
    "username": "mavka.salon",
    "name": "Мавка",
    "token": PAGE["token"],
    "login": "page",
    "page_id": PAGE["page_id"],
    **_APP_OF_PAGES,
    "human_agent": True,
}
"""The salon's account, which goes through its page; it may answer late."""
INSTAGRAM_BY_LOGIN: Json = {
    "ig_id": "17841400008460056",
    "username": "zdorov.clinic",
    "name": "Здоров'я",
    "token": "IGAAclinicAccountOfTheSandbox0123456789",
    "login": "instagram",
    **_APP_OF_LOGINS,
    "human_agent": False,
}
"""The clinic's account, which has no page; nobody granted it late answers, whatever its channel says."""
META_APPS = (_APP_OF_PAGES, _APP_OF_LOGINS)
