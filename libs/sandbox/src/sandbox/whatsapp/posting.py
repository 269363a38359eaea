"""A client sends something: texts at once, files after they were made or uploaded, several one by one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakValueDictionary

from sandbox.darkroom import Darkroom
from sandbox.files import StoredFile
from sandbox.problems import Refused
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived
from sandbox.whatsapp.acts import MAX_ALBUM, Echoing, MediaKind, Remembering, Writing
from sandbox.whatsapp.clients import WhatsAppPhones
from sandbox.whatsapp.history import History
from sandbox.whatsapp.media import INBOUND_SECONDS, MediaDesk
from sandbox.whatsapp.state import Json, Number

WITH_FILE = frozenset({"photo", "video", "voice", "audio", "document", "sticker"})
_KIND_OF_MIME: tuple[tuple[str, MediaKind], ...] = (
    ("image/jpeg", "photo"),
    ("image/png", "photo"),
    ("image/webp", "sticker"),
    ("video/mp4", "video"),
    ("audio/ogg", "voice"),
    ("audio/", "audio"),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """One file to send."""

    kind: MediaKind
    order: FileOrder
    arrived: Arrived | None
    caption: str | None


class WhatsAppPosting:
    """Brings what a client or the owner wants to send into the shape the phones send."""

    def __init__(self, phones: WhatsAppPhones, darkroom: Darkroom, desk: MediaDesk, history: History) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._desk = desk
        self._history = history
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def post(self, number: Number, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before.

        Args:
            arrived: uploaded files; each becomes a message of its own, as with WhatsApp.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = _parts(body, arrived)
        # The local name keeps the lock alive; the dictionary forgets it when nobody waits any more.
        turn = self._turns.setdefault((number.account.phone_number_id, client), asyncio.Lock())
        async with turn:
            if not parts:
                receipt = self._phones.write(number, client, body)
                return {**receipt, "provider_ids": [receipt["provider_id"]]}
            files = [await self._picked(number, client, part) for part in parts]
            receipts = []
            for part, file in zip(parts, files, strict=True):
                media = await self._desk.register(number, file, INBOUND_SECONDS, voice=part.kind == "voice")
                change = {"kind": part.kind, "text": part.caption, "album": None}
                receipts.append(
                    self._phones.write(number, client, body.model_copy(update=change), media=media)
                )
            return {**receipts[0], "provider_ids": [receipt["provider_id"] for receipt in receipts]}

    async def remember(self, number: Number, client: str, body: Remembering) -> Json:
        """The owner shares the past of this dialogue."""
        if not number.account.coexistence:
            raise Refused("no_business_app", "Цей номер не має застосунку WhatsApp Business (coexistence).")
        chat = self._phones.chat(number, client, body.name)
        if body.declined:
            return {"sent": 0 if self._history.decline(number) is None else 1}
        file = None
        if body.files:
            file = await self._picked(number, client, _Part("photo", FileOrder(), None, None))
        self._history.remember(number, chat, body.count, body.days, file, body.files)
        if body.later:
            return {"sent": 0}
        sent = self._history.send(number, [chat], body.chunk)
        return {"sent": sent + await self._history.send_media(number, chat)}

    def echo(self, number: Number, client: str, body: Echoing) -> Json:
        """The owner writes in the Business app, or takes it back."""
        if body.revoke is None:
            chat, message = self._phones.owner_writes(number, client, body.text, body.name)
            told = self._history.echo(number, chat, message, "text", {"body": body.text})
            return {"provider_id": message.id, "chat_id": chat.identity.wa_id, "update_id": told}
        chat = self._phones.chat(number, client, body.name)
        gone = chat.message(body.revoke)
        if gone is None or not gone.is_echo:
            raise Refused("message_not_found", "Власник може забрати лише те, що написав у застосунку.")
        taken_back = self._phones.take_back(chat, gone)
        told = self._history.echo(number, chat, taken_back, "revoke", {"original_message_id": gone.id})
        return {"provider_id": taken_back.id, "chat_id": chat.identity.wa_id, "update_id": told}

    async def _picked(self, number: Number, client: str, part: _Part) -> StoredFile:
        files_id = number.account.files_id
        try:
            return await self._darkroom.picked(files_id, part.kind, part.order, part.arrived, client)
        except ValueError as exc:
            raise Refused("bad_base64", "file.base64 не читається: надішліть стандартний Base64.") from exc


def _parts(body: Writing, arrived: Sequence[Arrived]) -> list[_Part]:
    """The files of a message, the caption with the first one unless each has its own."""
    if len(arrived) > MAX_ALBUM:
        raise Refused("album_too_long", f"За раз не більше {MAX_ALBUM} файлів: надішліть решту окремо.")
    if body.album is not None:
        return [
            _Part(item.kind, _order(item.file), None, item.caption or (body.text if number == 0 else None))
            for number, item in enumerate(body.album)
        ]
    if arrived:
        return [
            _Part(_kind(body, one), _order(body.file), one, body.text if number == 0 else None)
            for number, one in enumerate(arrived)
        ]
    if body.kind in WITH_FILE:
        return [_Part(cast("MediaKind", body.kind), _order(body.file), None, body.text)]
    return []


def _order(file: FileOrder | str | None) -> FileOrder:
    return file if isinstance(file, FileOrder) else FileOrder(name=file)


def _kind(body: Writing, arrived: Arrived) -> MediaKind:
    """The kind that was asked for, else what the app would make of such a file."""
    if body.kind in WITH_FILE:
        return cast("MediaKind", body.kind)
    mime = arrived.mime or ""
    return next((kind for begin, kind in _KIND_OF_MIME if mime.startswith(begin)), "document")
