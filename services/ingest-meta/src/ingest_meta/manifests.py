"""What Messenger and Instagram can do and what they need to be connected: one manifest for each."""

from __future__ import annotations

from typing import Any

from ingest_meta import payloads
from ingest_meta.payloads import INSTAGRAM_DOCS, MESSENGER_DOCS
from msgkit.contracts.manifest import Abilities, Limit, Manifest
from msgkit.contracts.words import MessageKind

SERVICE = "ingest-meta"

_ABILITIES = Abilities(
    bot=True,
    buttons=True,
    edit=False,
    delete=False,
    typing=True,
    receipts=True,
    knows_phone=False,
    # Ids of people are given to whom the person wrote, and to nobody else (fact sheet 3).
    needs_prior_inbound=True,
    read_marks=True,
    reactions=True,
    templates=False,
    media_kinds=[
        kind.value
        for kind in (
            MessageKind.IMAGE,
            MessageKind.VIDEO,
            MessageKind.AUDIO,
            MessageKind.VOICE,
            MessageKind.FILE,
            MessageKind.LOCATION,
            MessageKind.CONTACT,
        )
    ],
)
_APP_SECRET: dict[str, Any] = {
    "type": "string",
    "title": "App Secret власного застосунку",
    "description": "Лише якщо підключаєте через ваш власний застосунок Meta: App settings → Basic. "
    "Інакше залиште порожнім.",
    "writeOnly": True,
}

FACEBOOK_MANIFEST = Manifest(
    kind=payloads.FACEBOOK,
    title="Facebook Messenger",
    service=SERVICE,
    abilities=_ABILITIES,
    limits={
        "text": Limit(
            value=payloads.FACEBOOK_TEXT_MAX_CHARS, unit="chars", source=f"{MESSENGER_DOCS}send-messages"
        ),
        # A caption goes out as a text of its own after the file.
        "caption": Limit(
            value=payloads.FACEBOOK_TEXT_MAX_CHARS, unit="chars", source=f"{MESSENGER_DOCS}send-messages"
        ),
        "file": Limit(
            value=payloads.FILE_MAX_BYTES,
            unit="bytes",
            source=f"{MESSENGER_DOCS}send-messages/saving-assets",
        ),
        "sends": Limit(
            value=payloads.FACEBOOK_SENDS_PER_SECOND,
            unit="per_second",
            source=f"{MESSENGER_DOCS}overview/rate-limiting",
        ),
    },
    reply_window_hours=payloads.REPLY_WINDOW_HOURS,
    human_reply_window_hours=payloads.HUMAN_REPLY_WINDOW_HOURS,
    human_agent_by_default=False,
    credentials_schema={
        "type": "object",
        "required": ["page_id", "access_token"],
        "additionalProperties": False,
        "properties": {
            "page_id": {
                "type": "string",
                "title": "Page ID",
                "description": "На Facebook: сторінка → Інформація → Прозорість сторінки, рядок "
                "«Ідентифікатор сторінки».",
                "pattern": "^[0-9]{5,32}$",
            },
            "access_token": {
                "type": "string",
                "title": "Токен сторінки",
                "description": "У Meta for Developers: ваш застосунок → Messenger → Messenger API Settings → "
                "Generate access tokens, рядок вашої сторінки. Потрібні права pages_messaging, "
                "pages_manage_metadata і pages_show_list.",
                "writeOnly": True,
            },
            "app_secret": _APP_SECRET,
        },
    },
)

INSTAGRAM_MANIFEST = Manifest(
    kind=payloads.INSTAGRAM,
    title="Instagram Direct",
    service=SERVICE,
    abilities=_ABILITIES,
    limits={
        "text": Limit(
            value=payloads.INSTAGRAM_TEXT_MAX_BYTES, unit="bytes", source=f"{INSTAGRAM_DOCS}send-message"
        ),
        "caption": Limit(
            value=payloads.INSTAGRAM_TEXT_MAX_BYTES, unit="bytes", source=f"{INSTAGRAM_DOCS}send-message"
        ),
        "file": Limit(
            value=payloads.FILE_MAX_BYTES, unit="bytes", source=f"{INSTAGRAM_DOCS}attachment-upload"
        ),
        "image": Limit(
            value=payloads.INSTAGRAM_IMAGE_MAX_BYTES, unit="bytes", source=f"{INSTAGRAM_DOCS}send-message"
        ),
        "sends": Limit(
            value=payloads.INSTAGRAM_SENDS_PER_SECOND,
            unit="per_second",
            source=f"{MESSENGER_DOCS}overview/rate-limiting",
        ),
    },
    reply_window_hours=payloads.REPLY_WINDOW_HOURS,
    human_reply_window_hours=payloads.HUMAN_REPLY_WINDOW_HOURS,
    human_agent_by_default=True,
    credentials_schema={
        "type": "object",
        "required": ["access_token"],
        "additionalProperties": False,
        "properties": {
            "access_token": {
                "type": "string",
                "title": "Токен доступу",
                "description": "Якщо Instagram під'єднано до сторінки Facebook: токен сторінки (EAA…) "
                "з правами instagram_basic, instagram_manage_messages і pages_manage_metadata. Без сторінки: "
                "токен Instagram (IGAA…), у Meta for Developers: застосунок → Instagram → API setup with "
                "Instagram login → Generate access tokens; система поновлює його сама.",
                "writeOnly": True,
            },
            "page_id": {
                "type": "string",
                "title": "Page ID сторінки Facebook",
                "description": "Лише з токеном сторінки: сторінка, до якої під'єднано Instagram "
                "(сторінка → Інформація → Прозорість сторінки). З токеном Instagram залиште порожнім.",
                "pattern": "^([0-9]{5,32})?$",
            },
            "app_secret": _APP_SECRET,
        },
    },
)
