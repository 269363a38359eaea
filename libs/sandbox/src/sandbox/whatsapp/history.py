"""Coexistence: what the WhatsApp Business app on the owner's phone did and does.

Past dialogues come in chunks that keep no order, media ids in a second webhook, and only of the last 14 days.
Source: the fact sheet, 1.4 («Coexistence»).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbox.files import StoredFile
from sandbox.whatsapp import payloads
from sandbox.whatsapp.codes import HISTORY_DECLINED, told
from sandbox.whatsapp.delivery import WhatsAppDelivery
from sandbox.whatsapp.media import INBOUND_SECONDS, MediaDesk
from sandbox.whatsapp.state import Chat, Json, Number, PhoneMessage, WhatsApp

DAY = 24 * 3600.0
MEDIA_DAYS = 14.0
CHUNK_MESSAGES = 500
_PHASES = ((0, 1.0), (1, 90.0), (2, 180.0))
"""Numbers of phases and up to how many days back they reach."""
_GRAPH_TYPES = {"photo": "image", "voice": "audio", "contact": "contacts"}


@dataclass(frozen=True, slots=True)
class _Said:
    chat: Chat
    message: PhoneMessage
    phase: int


class History:
    """The Business app of the numbers that have one."""

    def __init__(
        self, whatsapp: WhatsApp, desk: MediaDesk, delivery: Callable[[Number], WhatsAppDelivery]
    ) -> None:
        self._whatsapp = whatsapp
        self._desk = desk
        self._delivery = delivery

    def remember(
        self, number: Number, chat: Chat, count: int, days: float, file: StoredFile | None, files: int
    ) -> None:
        """Make a past of `count` messages over so many days; the newest `files` have a picture."""
        now = self._whatsapp.clock()
        dice = random.Random(count)  # noqa: S311  # the same past for the same order
        for place in range(count):
            mine = place % 2 == 0
            at = now - days * DAY * (count - place) / count
            pictured = file is not None and place >= count - files
            chat.past.append(
                PhoneMessage(
                    id=self._whatsapp.message_id(chat.identity.wa_id),
                    from_client=mine,
                    kind="photo" if pictured else "text",
                    text="" if pictured else f"{'Запитання' if mine else 'Відповідь'} {place + 1}",
                    content={},
                    at=at,
                    type="image" if pictured else "text",
                    state=dice.choice(("read", "delivered", "played")),
                    file=file if pictured else None,
                )
            )

    def send(self, number: Number, chats: Sequence[Chat], chunk_messages: int = CHUNK_MESSAGES) -> int:
        """Everything remembered, in chunks and out of order; how many webhooks that were."""
        sent = 0
        now = self._whatsapp.clock()
        said = [_Said(chat, message, _phase(now - message.at)) for chat in chats for message in chat.past]
        chunks: list[tuple[int, list[_Said]]] = []
        for phase, _ in _PHASES:
            some = [one for one in said if one.phase == phase]
            chunks += [
                (phase, some[start : start + chunk_messages]) for start in range(0, len(some), chunk_messages)
            ]
        told_of = [
            self._chunk(number, phase, order, round(100 * order / len(chunks)), some)
            for order, (phase, some) in enumerate(chunks, 1)
        ]
        for chunk in [*told_of[1:], *told_of[:1]]:  # no order is promised
            sent += self._tell(number, payloads.value(number, history=[chunk]), None) is not None
        return sent

    async def send_media(self, number: Number, chat: Chat) -> int:
        """The ids of the files of the last 14 days, under the same message ids."""
        now = self._whatsapp.clock()
        sent = 0
        for message in chat.past:
            if message.file is None or now - message.at > MEDIA_DAYS * DAY:
                continue
            media = await self._desk.register(number, message.file, INBOUND_SECONDS)
            found = payloads.file_content(media, self._desk.link(number, media, "webhook"), None, "image")
            shown = self._element(number, chat, message, "image", found)
            value = payloads.value(number, messages=[shown])
            sent += self._tell(number, value, chat) is not None
        return sent

    def decline(self, number: Number) -> int | None:
        """The owner does not share the past."""
        refused = [{"errors": [told(HISTORY_DECLINED)]}]
        return self._tell(number, payloads.value(number, history=refused), None)

    def send_contacts(self, number: Number) -> int | None:
        """The address book of the owner's phone."""
        now = str(int(self._whatsapp.clock()))
        book = [
            {
                "type": "contact",
                "contact": {
                    "full_name": chat.user.full_name,
                    "first_name": chat.user.first_name,
                    "phone_number": chat.identity.wa_id,
                },
                "action": "add",
                "metadata": {"timestamp": now},
            }
            for chat in number.chats.values()
        ]
        value = payloads.value(number, state_sync=book)
        return self._delivery(number).tell("smb_app_state_sync", value, kind="state_sync")

    def echo(
        self, number: Number, chat: Chat, message: PhoneMessage, kind: str, content: object
    ) -> int | None:
        """Something the owner typed, or took back, in the Business app."""
        element: Json = {
            "from": number.account.digits,
            **chat.identity.target(),
            "id": message.id,
            "timestamp": str(int(message.at)),
            "type": kind,
            kind: content,
        }
        value = payloads.value(
            number, contacts=[payloads.contact(chat, named=False)], message_echoes=[element]
        )
        return self._delivery(number).tell(
            "smb_message_echoes",
            value,
            kind="echo",
            chat=chat,
            message_id=message.id,
            text=message.text or None,
        )

    def _chunk(self, number: Number, phase: int, order: int, progress: int, some: list[_Said]) -> Json:
        threads: dict[str, list[Json]] = {}
        for one in some:
            kind = "media_placeholder" if one.message.file is not None else "text"
            content = None if one.message.file is not None else {"body": one.message.text}
            element = self._element(number, one.chat, one.message, kind, content)
            element["history_context"] = {"status": one.message.state.upper()}
            threads.setdefault(one.chat.identity.wa_id, []).append(element)
        return {
            "metadata": {"phase": phase, "chunk_order": order, "progress": progress},
            "threads": [{"id": wa_id, "messages": messages} for wa_id, messages in threads.items()],
        }

    def _element(self, number: Number, chat: Chat, message: PhoneMessage, kind: str, content: object) -> Json:
        if message.from_client:
            direction: Json = {"from": chat.identity.wa_id}
        else:
            direction = {"from": number.account.digits, "to": chat.identity.wa_id}
        head: Json = {**direction, "id": message.id, "timestamp": str(int(message.at)), "type": kind}
        return head if content is None else {**head, kind: content}

    def _tell(self, number: Number, value: Json, chat: Chat | None) -> int | None:
        return self._delivery(number).tell("history", value, kind="history", chat=chat)


def graph_type(kind: str) -> str:
    """What the API calls a kind of the phone."""
    return _GRAPH_TYPES.get(kind, kind)


def _phase(age_seconds: float) -> int:
    return next((phase for phase, days in _PHASES if age_seconds <= days * DAY), _PHASES[-1][0])
