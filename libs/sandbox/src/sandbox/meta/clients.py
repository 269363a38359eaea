"""What clients do on their phones and the staff in their own inbox, and the webhooks that come of it."""

from collections.abc import Callable, Sequence

from sandbox.delivery import Watcher
from sandbox.meta import payloads
from sandbox.meta.acts import Coming, Deleting, Desk, Editing, Pressing, Reacting, Reading, Starting, Writing
from sandbox.meta.cdn import Cdn
from sandbox.meta.delivery import MetaDelivery
from sandbox.meta.network import Meta
from sandbox.meta.sending import Sending
from sandbox.meta.state import (
    INBOX_APP_ID,
    INSTAGRAM_INBOX_APP_ID,
    Business,
    Button,
    Chat,
    Json,
    PhoneMessage,
    Piece,
    Story,
)
from sandbox.problems import Refused

MAX_EDITS = 5
"""Source: the fact sheet, 1.2."""
REFERRALS = ("messaging_referrals", "messaging_referral")


class MetaPhones:
    """The phones of everybody, as far as their owners do something."""

    def __init__(
        self, meta: Meta, sending: Sending, cdn: Cdn, delivery: Callable[[Business], MetaDelivery]
    ) -> None:
        self._meta = meta
        self._sending = sending
        self._cdn = cdn
        self._delivery = delivery

    # --- new messages

    def write(
        self,
        business: Business,
        client: str,
        body: Writing,
        *,
        kind: str | None = None,
        pieces: Sequence[Piece] = (),
        story: Story | None = None,
        watcher: Watcher | None = None,
    ) -> Json:
        """The client sends a message; it opens both windows.

        Raises:
            Refused: the app was never connected, the client blocked the account, or there is nothing to send.
        """
        chat = self.talking(business, client, body.name)
        kind = kind or body.kind
        if (
            not pieces
            and not (body.text and body.text.strip())
            and kind not in ("unsupported", "story_reply")
        ):
            raise Refused("empty", "Порожнє повідомлення: Meta такого не надсилає. Заповніть text.")
        if body.standby:
            chat.owner, chat.owned_at = self._inbox_app(business), self._meta.clock()
        message = self._message(business, kind, body.text or "", body.at(self._meta.clock()), pieces)
        message.reply_to, message.story = body.reply_to, story
        told = payloads.said(business, chat, message, self._link(business))
        if kind == "unsupported" and business.kind == "instagram":
            told["is_unsupported"] = True
        delivery = self._delivery(business)
        if body.referral is not None and (business.kind == "instagram" or delivery.wants(*REFERRALS)):
            told["referral"] = dict(body.referral)
        return self._said(
            business,
            chat,
            message,
            {"message": {**told, **(body.extra or {})}},
            names=("messages",),
            at=message.ms // 1000 if body.in_seconds else message.ms,
            watcher=watcher,
        )

    def press(self, business: Business, client: str, body: Pressing) -> Json:
        """The client presses a quick reply of the newest message, or a button of any.

        Raises:
            Refused: no such button is on the phone.
        """
        chat = self.talking(business, client, body.name)
        found = _find(chat, body)
        if found is None:
            raise Refused("no_such_button", "На телефоні немає такої кнопки: перевірте text або data.")
        under, button = found
        if button.kind == "web_url":
            return {**_receipt(chat, None, None), "opens": button.url}
        given = {"user_phone_number": f"+{chat.user.phone_number}", "user_email": f"{client}@example.ua"}
        title, payload = button.title, button.payload
        if button.kind in given:
            title = payload = given[button.kind]
        message = self._message(business, "text", title, body.at(self._meta.clock()))
        if button.kind == "postback":
            content: Json = {"postback": {"mid": message.id, "title": title, "payload": payload}}
            return self._said(
                business, chat, message, content, names=("messaging_postbacks",), kind="postback"
            )
        told = payloads.said(business, chat, message, self._link(business))
        under.quick_replies = ()
        content = {"message": {**told, "quick_reply": {"payload": payload}}}
        return self._said(business, chat, message, content, names=("messages",))

    def start(self, business: Business, client: str, body: Starting) -> Json:
        """The client taps «Почати», an icebreaker or the menu."""
        chat = self.talking(business, client, body.name)
        message = self._message(business, "text", body.title, body.at(self._meta.clock()))
        told: Json = {} if body.without_mid else {"mid": message.id}
        told |= {"title": body.title, "payload": body.payload}
        if body.ref is not None:
            told["referral"] = payloads.referral(business.kind, body.ref)
        at: object = str(message.ms) if body.as_text else message.ms
        names = ("messaging_postbacks",)
        return self._said(business, chat, message, {"postback": told}, names=names, kind="postback", at=at)

    def answer(self, business: Business, client: str, body: Desk, kind: str, pieces: Sequence[Piece]) -> Json:
        """The staff answer in the messenger's own application: an echo with an app id that is not ours."""
        chat = self.talking(business, client, body.name)
        if not pieces and not (body.text and body.text.strip()):
            raise Refused("empty", "Порожня відповідь: заповніть text.")
        message = self._message(business, kind, body.text or "", body.at(self._meta.clock()), pieces)
        message.from_client, message.from_desk = False, True
        message.app_id, message.reply_to = self._inbox_app(business), body.reply_to
        return _receipt(chat, message.id, self._sending.arrive(business, chat, message))

    # --- about messages

    def edit(self, business: Business, client: str, body: Editing) -> Json:
        """The client changes a text of his, five times at most."""
        chat = self.talking(business, client, body.name)
        edited = _own(chat, body.provider_id, "змінити")
        if edited.files or not edited.text:
            raise Refused("not_a_text", "Змінити можна лише текст.")
        if edited.edits >= MAX_EDITS:
            raise Refused("too_many_edits", f"Повідомлення вже змінено {MAX_EDITS} разів: більше не можна.")
        edited.text, edited.edits = body.text, edited.edits + 1
        number: object = str(edited.edits) if body.as_text else edited.edits
        told: Json = {"mid": edited.id, "text": body.text, "num_edit": number}
        names = ("message_edits", "message_edit")
        return self._told(business, chat, {"message_edit": told}, names, "message_edit", edited)

    def unsend(self, business: Business, client: str, body: Deleting) -> Json:
        """The client takes a message back: Instagram tells of it, unless it was done in a browser."""
        chat = self.talking(business, client, body.name)
        gone = _own(chat, body.provider_id, "забрати")
        gone.deleted, gone.shown = True, False
        if business.kind == "facebook" or body.web:
            chat.changed()
            return _receipt(chat, gone.id, None)
        told: Json = {"mid": gone.id, "is_deleted": True}
        return self._told(business, chat, {"message": told}, ("messages",), "deleted", gone)

    def react(self, business: Business, client: str, body: Reacting) -> Json:
        """The client reacts, or takes the reaction away."""
        chat = self.talking(business, client, body.name)
        mine = [m for m in chat.messages if not m.from_client and m.shown]
        target = chat.message(body.provider_id) if body.provider_id else next(reversed(mine), None)
        if target is None:
            raise Refused("message_not_found", "Немає повідомлення, на яке відгукнутися.")
        if body.emoji:
            target.reactions["client"] = body.emoji
        else:
            target.reactions.pop("client", None)
        told = payloads.reaction(business.kind, target.id, body.emoji)
        self._opens_window(chat, self._meta.clock())
        return self._told(business, chat, {"reaction": told}, ("message_reactions",), "reaction", target)

    def read(self, business: Business, client: str, body: Reading) -> Json:
        """The client reads: a page is told a time, an Instagram account the last message."""
        chat = self.talking(business, client, body.name)
        mine = [m for m in chat.messages if not m.from_client and m.shown]
        last = chat.message(body.provider_id) if body.provider_id else next(reversed(mine), None)
        is_by_time = business.kind == "facebook"
        if last is None and (body.watermark is None or not is_by_time):
            raise Refused("nothing_to_read", "На телефоні немає відповіді компанії: читати нічого.")
        until = body.watermark if last is None or body.watermark is not None else last.ms
        for message in mine:
            if until is not None and message.ms <= until:
                message.rise("read")
        told: Json = {"watermark": until} if last is None or is_by_time else {"mid": last.id}
        return self._told(business, chat, {"read": told}, ("message_reads", "messaging_seen"), "read", last)

    def come(self, business: Business, client: str, body: Coming) -> Json:
        """A known client comes by a link; nothing is written."""
        chat = self.talking(business, client, body.name)
        at = body.at(self._meta.clock())
        self._opens_window(chat, at)
        told = payloads.referral(business.kind, body.ref, body.source, **body.extra)
        ms = int(at) if body.in_seconds else int(at * 1000)
        element = payloads.from_client(business, chat, ms, referral=told)
        number = self._delivery(business).tell(REFERRALS, element, kind="referral", chat=chat)
        return _receipt(chat, None, number)

    # --- shared

    def chat(self, business: Business, client: str, name: str | None) -> Chat:
        """The dialogue with this client, made at the first look."""
        return self._meta.chat(business, self._meta.people.get(client, name))

    def talking(self, business: Business, client: str, name: str | None) -> Chat:
        """The same, if the client may write.

        Raises:
            Refused: he may not.
        """
        if business.hook is None:
            raise Refused(
                "webhook_not_set",
                'Застосунок ще не має адреси: PUT /control/meta/{id} {"callback_url": …} і '
                "POST /{id}/subscribed_apps.",
            )
        chat = self.chat(business, client, name)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував сторінку: спершу unblock.")
        return chat

    def is_elsewhere(self, business: Business, chat: Chat) -> bool:
        """Whether another app holds the thread."""
        return self._meta.owner_of(chat) not in (None, business.app.id)

    def _said(
        self,
        business: Business,
        chat: Chat,
        message: PhoneMessage,
        content: Json,
        *,
        names: tuple[str, ...],
        kind: str = "message",
        at: object = None,
        watcher: Watcher | None = None,
    ) -> Json:
        """A bubble of the client's, and its webhook; without a subscription nobody hears of it."""
        standby = self.is_elsewhere(business, chat)
        if standby and isinstance(content.get("postback"), dict):
            content = {"postback": {k: v for k, v in content["postback"].items() if k != "payload"}}  # type: ignore[attr-defined]
        chat.add(message)
        self._opens_window(chat, message.at)

        def taken(_: bytes) -> None:
            message.rise("delivered")
            chat.changed()

        element = payloads.from_client(
            business, chat, None, timestamp=message.ms if at is None else at, **content
        )
        number = self._delivery(business).tell(
            names,
            element,
            kind=kind,
            chat=chat,
            message_id=message.id,
            text=message.text or None,
            standby=standby,
            watcher=watcher,
            on_answer=taken,
        )
        chat.changed()
        return _receipt(chat, message.id, number)

    def _told(
        self,
        business: Business,
        chat: Chat,
        content: Json,
        names: tuple[str, ...],
        kind: str,
        about: PhoneMessage | None,
    ) -> Json:
        """A webhook without a bubble of its own."""
        element = payloads.from_client(business, chat, int(self._meta.clock() * 1000), **content)
        message_id = None if about is None else about.id
        number = self._delivery(business).tell(
            names,
            element,
            kind=kind,
            chat=chat,
            message_id=message_id,
            standby=self.is_elsewhere(business, chat),
        )
        chat.changed()
        return _receipt(chat, message_id, number)

    def _message(
        self, business: Business, kind: str, text: str, at: float, pieces: Sequence[Piece] = ()
    ) -> PhoneMessage:
        return PhoneMessage(self._meta.message_id(business), True, kind, text, at, tuple(pieces))

    def _opens_window(self, chat: Chat, at: float) -> None:
        chat.wrote_at = at if chat.wrote_at is None else max(chat.wrote_at, at)

    def _link(self, business: Business) -> payloads.Link:
        return lambda file: self._cdn.link(business, file)

    def _inbox_app(self, business: Business) -> str:
        return INBOX_APP_ID if business.kind == "facebook" else INSTAGRAM_INBOX_APP_ID


def _find(chat: Chat, body: Pressing) -> tuple[PhoneMessage, Button] | None:
    """The newest such button; quick replies only of the newest message."""
    newest = next((m for m in reversed(chat.messages) if m.shown), None)
    for message in reversed(chat.messages):
        if message.from_client or not message.shown or body.provider_id not in (None, message.id):
            continue
        quick = message.quick_replies if message is newest else ()
        for button in (*quick, *message.buttons):
            if body.text in (None, button.title) and body.data in (None, button.payload):
                return message, button
    return None


def _own(chat: Chat, message_id: str | None, verb: str) -> PhoneMessage:
    mine = [m for m in chat.messages if m.from_client and not m.deleted]
    found = next((m for m in reversed(mine) if message_id in (None, m.id)), None)
    if found is None:
        raise Refused("message_not_found", f"На телефоні немає такого повідомлення клієнта: {verb} нічого.")
    return found


def _receipt(chat: Chat, message_id: str | None, number: int | None) -> Json:
    return {"provider_id": message_id, "chat_id": chat.id, "update_id": number}
