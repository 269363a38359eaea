"""What clients do on their phones, and the webhooks a business gets from it."""

from collections.abc import Callable
from dataclasses import replace

from sandbox.delivery import Watcher
from sandbox.picking import Body, Sharing
from sandbox.problems import Refused
from sandbox.whatsapp import payloads
from sandbox.whatsapp.acts import Deleting, Editing, Moving, Naming, Pressing, Raw, Reacting, Waiting, Writing
from sandbox.whatsapp.codes import UNSUPPORTED_TYPE, told
from sandbox.whatsapp.delivery import WhatsAppDelivery
from sandbox.whatsapp.handset import Handsets
from sandbox.whatsapp.media import MediaDesk
from sandbox.whatsapp.state import Button, Chat, Json, Media, Number, PhoneMessage, WhatsApp

FOREIGN_NUMBER = "380500000000"
"""A number that belongs to nobody here."""
EDIT_SECONDS = 15 * 60.0
DELETE_SECONDS = 2 * 24 * 3600.0
"""Source: the fact sheet, 1.4: edits within 15 minutes, deletions within 2 days."""
UNSEEN = {
    "type": "WhatsApp не повідомляє компаніям, що клієнт друкує: такої події немає.",
    "open": "WhatsApp не повідомляє, що клієнт відкрив чат: надішліть повідомлення.",
    "subscribe": "У WhatsApp немає підписки: клієнт просто пише.",
}
_TYPES = {"photo": "image", "voice": "audio", "contact": "contacts"}


class WhatsAppPhones:
    """The phones of everybody, as far as their owners do something."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        handsets: Handsets,
        desk: MediaDesk,
        delivery: Callable[[Number], WhatsAppDelivery],
    ) -> None:
        self._whatsapp = whatsapp
        self._handsets = handsets
        self._desk = desk
        self._delivery = delivery

    def write(
        self,
        number: Number,
        client: str,
        body: Writing,
        watcher: Watcher | None = None,
        media: Media | None = None,
    ) -> Json:
        """The client sends a message; it opens the window of 24 hours.

        Raises:
            Refused: the number has no callback, the client blocked it, or the message cannot be written.
        """
        chat = self._talking(number, client, body.name)
        kind = _TYPES.get(body.kind, body.kind)
        content = self._content(number, body, kind, media)
        message = self._message(number, body.kind, body.text or "", content, kind)
        message.file = None if media is None else media.file
        message.reply_to = body.reply_to
        message.at -= body.hours_ago * 3600
        rest: Json = {}
        if body.reply_to is not None:
            rest["context"] = payloads.context(number, chat.message(body.reply_to), body.reply_to)
        if body.forwarded:
            rest["context"] = {"forwarded": True}
        if body.kind == "unsupported":
            rest |= {"unsupported": {"type": body.unsupported}, "errors": [told(body.code)]}
        sent = None if body.kind == "unsupported" else content.get("contacts", content)
        element = payloads.message(chat, message.id, message.at, kind, sent, **rest)
        if body.extra is not None:
            element |= body.extra
        field = "standby" if body.standby else "messages"
        return self._said(number, chat, message, element, watcher=watcher, field=field)

    def edit(self, number: Number, client: str, body: Editing) -> Json:
        """The client changes his message: told in full to a number in coexistence, else as unsupported."""
        chat = self._talking(number, client, body.name)
        edited = self._own(chat, body.provider_id, EDIT_SECONDS, "змінити")
        edited.text, edited.edited = body.text, True
        if not number.account.coexistence:
            element = self._event(chat, "unsupported", None)
            element |= {"unsupported": {"type": "edit"}, "errors": [told(UNSUPPORTED_TYPE)]}
        else:
            part = "text" if edited.file is None else edited.type
            new = {"body": body.text} if edited.file is None else {**edited.content, "caption": body.text}
            changed: Json = {"type": part, part: new}
            if edited.reply_to is not None:
                changed = {"context": {"id": edited.reply_to}, **changed}
            element = self._event(chat, "edit", {"original_message_id": edited.id, "message": changed})
        return self._told(number, chat, element, edited)

    def delete(self, number: Number, client: str, body: Deleting) -> Json:
        """The client takes a message back: told to a number in coexistence, nobody else hears of it."""
        chat = self._talking(number, client, body.name)
        gone = self._own(chat, body.provider_id, DELETE_SECONDS, "видалити")
        gone.deleted, gone.shown = True, False
        if not number.account.coexistence:
            chat.changed()
            return _receipt(chat, gone.id, None)
        return self._told(number, chat, self._event(chat, "revoke", {"original_message_id": gone.id}), gone)

    def react(self, number: Number, client: str, body: Reacting) -> Json:
        """The client reacts to a message of the business, or takes the reaction away."""
        chat = self._talking(number, client, body.name)
        target = self._target(chat, body.provider_id)
        if body.emoji:
            target.reactions["client"] = body.emoji
        else:
            target.reactions.pop("client", None)
        content: Json = {"message_id": target.id}
        if body.emoji is not None:
            content["emoji"] = body.emoji
        return self._told(number, chat, self._event(chat, "reaction", content), target)

    def press(self, number: Number, client: str, body: Pressing) -> Json:
        """The client presses a button of an interactive message or a template.

        Raises:
            Refused: no such button is on the phone.
        """
        chat = self._talking(number, client, body.name)
        found = _find(chat, body)
        if found is None:
            raise Refused("no_such_button", "На телефоні немає такої кнопки: перевірте text або data.")
        under, button = found
        context: Json = {"context": payloads.context(number, under, under.id)}
        content: Json
        match button.kind:
            case "url":
                return {**_receipt(chat, None, None), "opens": button.url}
            case "none":
                return _receipt(chat, None, None)
            case "request_contact_info":
                return self._share(number, chat, chat.user.full_name, chat.identity.wa_id, asked=context)
            case "template":
                kind, content = "button", {"payload": button.id, "text": button.title}
            case _:
                reply: Json = {"id": button.id, "title": button.title}
                if button.description is not None:
                    reply["description"] = button.description
                kind, content = "interactive", {"type": button.kind, button.kind: reply}
        message = self._message(number, "text", button.title, content, kind)
        message.reply_to = under.id
        element = payloads.message(chat, message.id, message.at, kind, content, **context)
        return self._said(number, chat, message, element)

    def share_contact(self, number: Number, client: str, body: Sharing) -> Json:
        """The client sends a card: his own, or somebody else's."""
        chat = self._talking(number, client, body.name)
        if body.own:
            digits = body.phone_number or chat.identity.wa_id
            return self._share(number, chat, chat.user.full_name, digits)
        return self._share(number, chat, "Знайомий", body.phone_number or FOREIGN_NUMBER)

    def read(self, number: Number, client: str, body: Body) -> Json:
        """The client reads everything unread: a status for each message."""
        chat = self.chat(number, client, body.name)
        last: PhoneMessage | None = None
        told_of: int | None = None
        for message in chat.unread:
            if message.rise("read"):
                last, told_of = message, self._handsets.tell(number, chat, message, "read")
        chat.changed()
        return _receipt(chat, None if last is None else last.id, told_of)

    def play(self, number: Number, client: str, body: Body) -> Json:
        """The client listens to the last recording of the business: `played`."""
        chat = self.chat(number, client, body.name)
        heard = next(
            (m for m in reversed(chat.messages) if not m.from_client and m.type == "audio" and m.shown), None
        )
        if heard is None:
            raise Refused("nothing_to_play", "На телефоні немає запису від компанії: надішліть аудіо.")
        heard.rise("played")
        chat.changed()
        return _receipt(chat, heard.id, self._handsets.tell(number, chat, heard, "played"))

    def block(self, number: Number, client: str, body: Body, *, blocked: bool) -> Json:
        """The client blocks the number, or not any more; no webhook tells of it."""
        chat = self.chat(number, client, body.name)
        if chat.blocked == blocked:
            code = "already_blocked" if blocked else "not_blocked"
            raise Refused(code, "Клієнт уже так і зробив: міняти нічого.")
        chat.blocked = blocked
        chat.changed()
        return _receipt(chat, None, None)

    def switch(self, number: Number, client: str, body: Body, *, offline: bool) -> Json:
        """The phone goes off the net, or comes back and gets what waited."""
        chat = self.chat(number, client, body.name)
        chat.offline = offline
        if not offline:
            self._handsets.come_online(number, chat)
        return _receipt(chat, None, None)

    def wait(self, number: Number, client: str, body: Waiting) -> Json:
        """The client's last message is that much older: the window of 24 hours closes."""
        chat = self.chat(number, client, body.name)
        if chat.wrote_at is not None:
            chat.wrote_at -= body.hours * 3600
        chat.changed()
        return _receipt(chat, None, None)

    def name(self, number: Number, client: str, body: Naming) -> Json:
        """By which ids Meta names the client from now on."""
        chat = self.chat(number, client, body.name)
        identity = chat.identity
        identity.variant = body.variant or identity.variant
        identity.wa_id = body.phone_number or identity.wa_id
        if body.username is not None:
            identity.username = body.username or None
        if body.parent is not None:
            identity.with_parent = body.parent
        chat.changed()
        return {"wa_id": identity.wa_id, "user_id": identity.user_id, "variant": identity.variant}

    def move(self, number: Number, client: str, body: Moving) -> Json:
        """The client changes his number: a new phone, a new user id, one system message without contacts."""
        chat = self._talking(number, client, body.name)
        identity = chat.identity
        old_phone, old_id, old_parent = identity.wa_id, identity.user_id, identity.parent_user_id
        identity.wa_id = body.phone_number or _next_phone(old_phone)
        identity.generation += 1
        changed: Json = {"user_id": identity.user_id, "previous_user_id": old_id}
        if identity.with_parent:
            changed |= {"parent_user_id": identity.parent_user_id, "previous_parent_user_id": old_parent}
        if identity.shows_phone:
            words = f"User {chat.user.full_name} changed from {old_phone} to {identity.wa_id}"
            if identity.variant == "phone_only":
                changed = {}
            system: Json = {"body": words, "wa_id": identity.wa_id, **changed, "type": "user_changed_number"}
            element: Json = {"from": old_phone}
        else:
            system = {"body": "User changed", **changed, "type": "user_changed_user_id"}
            element = {"from_user_id": identity.user_id}
        message_id = self._whatsapp.message_id(old_phone)
        element |= {"id": message_id, "timestamp": str(int(self._whatsapp.clock())), "type": "system"}
        value = payloads.value(number, messages=[{**element, "system": system}])
        told_of = self._delivery(number).tell(
            "messages", value, kind="system", chat=chat, message_id=message_id
        )
        chat.changed()
        receipt = _receipt(chat, message_id, told_of)
        return {**receipt, "wa_id": identity.wa_id, "user_id": identity.user_id, "previous_user_id": old_id}

    def send_raw(self, number: Number, client: str, body: Raw) -> Json:
        """A webhook of any shape."""
        chat = self._talking(number, client, body.name)
        delivery = self._delivery(number)
        if body.payload is not None:
            payload = body.payload if isinstance(body.payload, dict) else {"list": body.payload}
            return _receipt(chat, None, delivery.tell_raw(dict(payload), chat))
        if body.message is not None:
            element = {**self._event(chat, "text", None), **body.message}
            return self._told(number, chat, element, None)
        assert body.field is not None
        assert body.value is not None
        given: Json = dict(body.value)
        return _receipt(chat, None, delivery.tell(body.field, given, kind=body.field, chat=chat))

    def owner_writes(
        self, number: Number, client: str, text: str, name: str | None
    ) -> tuple[Chat, PhoneMessage]:
        """The owner's message from the Business app is on the client's phone."""
        if not number.account.coexistence:
            raise Refused("no_business_app", "Цей номер не має застосунку WhatsApp Business (coexistence).")
        chat = self._talking(number, client, name)
        message = self._message(number, "text", text, {"body": text}, "text")
        message.from_client, message.is_echo, message.state = False, True, "delivered"
        chat.messages.append(message)
        chat.changed()
        return chat, message

    def _content(self, number: Number, body: Writing, kind: str, media: Media | None) -> Json:
        """Graph's object of what the client writes."""
        match body.kind:
            case "text":
                if not body.text or not body.text.strip():
                    raise Refused(
                        "empty", "Порожнє повідомлення: WhatsApp такого не надсилає. Заповніть text."
                    )
                return {"body": body.text}
            case "location":
                return payloads.location(body.latitude, body.longitude, body.place_name, body.address)
            case "contact":
                return {"contacts": [payloads.card(body.contact_name, body.phone_number or FOREIGN_NUMBER)]}
            case "unsupported":
                return {"type": body.unsupported}
        assert media is not None
        return payloads.file_content(media, self._desk.link(number, media, "webhook"), body.text, kind)

    def _share(self, number: Number, chat: Chat, name: str, digits: str, asked: Json | None = None) -> Json:
        cards = [payloads.card(name, digits)]
        message = self._message(number, "contact", "", {"contacts": cards}, "contacts")
        rest = {} if asked is None else {"origin": "contact_request", **asked}
        element = payloads.message(chat, message.id, message.at, "contacts", cards, **rest)
        return self._said(number, chat, message, element)

    def _said(
        self,
        number: Number,
        chat: Chat,
        message: PhoneMessage,
        element: Json,
        *,
        watcher: Watcher | None = None,
        field: str = "messages",
    ) -> Json:
        """A bubble of the client's, and its webhook."""
        chat.messages.append(message)
        chat.wrote_at = message.at if chat.wrote_at is None else max(chat.wrote_at, message.at)

        def taken(_: bytes) -> None:
            message.rise("delivered")
            chat.changed()

        told_of = self._delivery(number).tell(
            field,
            payloads.said(number, chat, element),
            kind="message",
            chat=chat,
            message_id=message.id,
            text=message.text or None,
            watcher=watcher,
            on_answer=taken,
        )
        chat.changed()
        return _receipt(chat, message.id, told_of)

    def _told(self, number: Number, chat: Chat, element: Json, about: PhoneMessage | None) -> Json:
        """A webhook without a bubble of its own."""
        told_of = self._delivery(number).tell(
            "messages",
            payloads.said(number, chat, element),
            kind=str(element["type"]),
            chat=chat,
            message_id=str(element["id"]),
            text=None if about is None else about.text or None,
        )
        chat.changed()
        return _receipt(chat, str(element["id"]), told_of)

    def _event(self, chat: Chat, kind: str, content: object) -> Json:
        message_id = self._whatsapp.message_id(chat.identity.wa_id)
        return payloads.message(chat, message_id, self._whatsapp.clock(), kind, content)

    def _message(
        self, number: Number, kind: str, text: str, content: Json, kind_of_graph: str
    ) -> PhoneMessage:
        return PhoneMessage(
            id=self._whatsapp.message_id(number.account.digits),
            from_client=True,
            kind=kind,
            text=text,
            content=content,
            at=self._whatsapp.clock(),
            type=kind_of_graph,
        )

    def _own(self, chat: Chat, message_id: str | None, seconds: float, verb: str) -> PhoneMessage:
        mine = [m for m in chat.messages if m.from_client and not m.deleted]
        found = next((m for m in reversed(mine) if message_id in (None, m.id)), None)
        if found is None:
            raise Refused(
                "message_not_found", f"На телефоні немає такого повідомлення клієнта: {verb} нічого."
            )
        if self._whatsapp.clock() - found.at > seconds:
            raise Refused("too_old", f"Повідомлення застаре, щоб його {verb}: WhatsApp цього не дає.")
        return found

    def _target(self, chat: Chat, message_id: str | None) -> PhoneMessage:
        theirs = [m for m in chat.messages if not m.from_client and m.shown]
        found = chat.message(message_id) if message_id is not None else next(reversed(theirs), None)
        if found is None:
            raise Refused("message_not_found", "Немає повідомлення компанії, на яке відгукнутися.")
        return found

    def take_back(self, chat: Chat, gone: PhoneMessage) -> PhoneMessage:
        """The owner's message is no longer on the phone; gives the message that says so."""
        gone.deleted, gone.shown = True, False
        chat.changed()
        return replace(gone, id=self._whatsapp.message_id(chat.identity.wa_id), at=self._whatsapp.clock())

    def chat(self, number: Number, client: str, name: str | None) -> Chat:
        """The dialogue with this client, made at the first look."""
        return self._whatsapp.chat(number, self._whatsapp.people.get(client, name))

    def _talking(self, number: Number, client: str, name: str | None) -> Chat:
        if number.callback is None:
            raise Refused(
                "webhook_not_set",
                "Номер ще не підключено: потрібні адреса (callback) і POST /{waba_id}/subscribed_apps.",
            )
        chat = self.chat(number, client, name)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував номер: спершу unblock.")
        return chat


def _find(chat: Chat, body: Pressing) -> tuple[PhoneMessage, Button] | None:
    """The newest button with the wanted label or id; with neither given, the newest first one."""
    for message in reversed(chat.messages):
        if message.from_client or not message.shown or body.provider_id not in (None, message.id):
            continue
        for button in message.buttons:
            if body.text in (None, button.title) and body.data in (None, button.id):
                return message, button
    return None


def _next_phone(digits: str) -> str:
    return f"{digits[:-4]}{(int(digits[-4:]) + 7919) % 10_000:04d}"


def _receipt(chat: Chat, message_id: str | None, number: int | None) -> Json:
    return {"provider_id": message_id, "chat_id": chat.identity.wa_id, "update_id": number}
