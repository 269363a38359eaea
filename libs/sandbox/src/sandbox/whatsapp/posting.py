"""A client sends something: texts at once, files after they were made or uploaded, several one by one."""

from collections.abc import Sequence

from sandbox.darkroom import Darkroom
from sandbox.picking import Part, Picker, Turns, file_of, receipt_of
from sandbox.problems import Refused
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived
from sandbox.whatsapp.acts import Echoing, Remembering, Writing
from sandbox.whatsapp.clients import WhatsAppPhones
from sandbox.whatsapp.history import History
from sandbox.whatsapp.media import INBOUND_SECONDS, MediaDesk
from sandbox.whatsapp.state import Json, Number

PICKER = Picker(
    frozenset({"photo", "video", "voice", "audio", "document", "sticker"}),
    (
        ("image/jpeg", "photo"),
        ("image/png", "photo"),
        ("image/webp", "sticker"),
        ("video/mp4", "video"),
        ("audio/ogg", "voice"),
        ("audio/", "audio"),
    ),
    "За раз",
)


class WhatsAppPosting:
    """Brings what a client or the owner wants to send into the shape the phones send."""

    def __init__(self, phones: WhatsAppPhones, darkroom: Darkroom, desk: MediaDesk, history: History) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._desk = desk
        self._history = history
        self._turns = Turns()

    async def post(self, number: Number, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before.

        Args:
            arrived: uploaded files; each becomes a message of its own, as with WhatsApp.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = PICKER.parts(body, arrived)
        files_id = number.account.files_id
        async with self._turns.of(number.account.phone_number_id, client):
            if not parts:
                return receipt_of([self._phones.write(number, client, body)])
            files = [await file_of(self._darkroom, files_id, part, client) for part in parts]
            receipts = []
            for part, file in zip(parts, files, strict=True):
                media = await self._desk.register(number, file, INBOUND_SECONDS, voice=part.kind == "voice")
                change = {"kind": part.kind, "text": part.caption, "album": None}
                receipts.append(
                    self._phones.write(number, client, body.model_copy(update=change), media=media)
                )
            return receipt_of(receipts)

    async def remember(self, number: Number, client: str, body: Remembering) -> Json:
        """The owner shares the past of this dialogue."""
        if not number.account.coexistence:
            raise Refused("no_business_app", "Цей номер не має застосунку WhatsApp Business (coexistence).")
        chat = self._phones.chat(number, client, body.name)
        if body.declined:
            return {"sent": 0 if self._history.decline(number) is None else 1}
        file = None
        if body.files:
            photo = Part("photo", FileOrder(), None, None)
            file = await file_of(self._darkroom, number.account.files_id, photo, client)
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
