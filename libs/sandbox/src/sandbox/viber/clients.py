"""What clients do on their phones, and the callbacks a bot gets from it."""

import html
import re
from collections.abc import Callable

from sandbox.delivery import Watcher
from sandbox.files import StoredFile
from sandbox.picking import Body, Sharing
from sandbox.problems import Refused
from sandbox.viber import payloads
from sandbox.viber.acts import Devices, Opening, Pressing, Raw, Writing
from sandbox.viber.delivery import ViberDelivery
from sandbox.viber.downloads import ViberDownloads
from sandbox.viber.handset import Handsets
from sandbox.viber.state import Bot, Chat, Hook, Json, PhoneMessage, Viber

FOREIGN_NUMBER = "380500000000"
"""A number that belongs to nobody here."""
UNSEEN = {
    "edit": "Viber не повідомляє ботам про зміну повідомлень: такої події немає.",
    "delete": "Viber не повідомляє ботам про видалені повідомлення: такої події немає.",
    "type": "Viber не повідомляє ботам, що клієнт друкує: такої події немає.",
}
_TAG = re.compile(r"<[^>]*>")


class ViberPhones:
    """The phones of everybody, as far as their owners do something."""

    def __init__(
        self,
        viber: Viber,
        handsets: Handsets,
        downloads: ViberDownloads,
        delivery: Callable[[Bot], ViberDelivery],
    ) -> None:
        self._viber = viber
        self._handsets = handsets
        self._downloads = downloads
        self._delivery = delivery

    def write(
        self,
        bot: Bot,
        client: str,
        body: Writing,
        watcher: Watcher | None = None,
        file: StoredFile | None = None,
    ) -> Json:
        """The client sends a message; the first one subscribes him, and no callback says so.

        Raises:
            Refused: the bot has no webhook, or the message cannot be written.
        """
        chat, hook = self._chat(bot, client, body.name), self._hook(bot)
        content = self._content(bot, body, file)
        if body.extra is not None:
            content = {**content, **body.extra}
        message = PhoneMessage(
            token=self._viber.tokens.take(),
            from_client=True,
            kind=body.kind,
            text=body.text or "",
            content=content,
            at=self._viber.clock(),
            file=file,
            shown=not body.silent,  # what a silent button says is not shown in the chat
        )
        self._subscribe(chat)
        chat.opened, chat.wrote_at = True, message.at
        chat.messages.append(message)
        callback = payloads.message(
            self._now(), message.token, chat, hook, bot.base, content, silent=body.silent
        )

        def taken(_: bytes) -> None:
            message.state = "delivered"
            chat.changed()
            # Viber reports the client's own messages too, under the same token.
            receipt = payloads.about_message("delivered", self._now(), message.token, chat.user_id)
            self._delivery(bot).tell(chat, receipt, about=message)

        number = self._delivery(bot).tell(chat, callback, about=message, watcher=watcher, on_answer=taken)
        chat.changed()
        return _receipt(chat, message, number)

    def open(self, bot: Bot, client: str, body: Opening) -> Json:
        """The client opens the chat: not a subscription; the answer may be a welcome."""
        chat, hook = self._chat(bot, client, body.name), self._hook(bot)
        chat.opened = True
        callback = payloads.conversation_started(
            self._now(), self._viber.tokens.take(), chat, hook, bot.base, body.context
        )

        def answered(answer: bytes) -> None:
            self._handsets.welcome(bot, chat, answer)

        number = self._delivery(bot).tell(chat, callback, on_answer=answered)
        chat.changed()
        return _receipt(chat, None, number)

    def subscribe(self, bot: Bot, client: str, body: Body) -> Json:
        """The client presses start, or subscribes again.

        Raises:
            Refused: he is subscribed.
        """
        chat, hook = self._chat(bot, client, body.name), self._hook(bot)
        if chat.subscribed:
            raise Refused("already_subscribed", "Клієнт уже підписаний на бота: робити нічого.")
        self._subscribe(chat)
        chat.opened = True
        callback = payloads.subscribed(self._now(), self._viber.tokens.take(), chat, hook, bot.base)
        return self._membership(bot, chat, callback)

    def unsubscribe(self, bot: Bot, client: str, body: Body) -> Json:
        """The client leaves the bot.

        Raises:
            Refused: he left already.
        """
        chat = self._chat(bot, client, body.name)
        if chat.unsubscribed:
            raise Refused("already_blocked", "Клієнт уже відписався від бота.")
        chat.subscribed, chat.unsubscribed, chat.opened = False, True, True
        self._viber.changed()
        token = self._viber.tokens.take()
        callback = payloads.about_message("unsubscribed", self._now(), token, chat.user_id)
        return self._membership(bot, chat, callback)

    def read(self, bot: Bot, client: str, body: Body) -> Json:
        """The client reads everything unread: one `seen`, with the token of the last message of the bot."""
        chat = self._chat(bot, client, body.name)
        unread = chat.unread
        for message in unread:
            message.state = "seen"
        if unread:
            chat.changed()
        told = [message for message in unread if not message.is_welcome]
        if not told:
            return _receipt(chat, None, None)
        last = told[-1]
        callback = payloads.about_message("seen", self._now(), last.token, chat.user_id)
        return _receipt(chat, last, self._delivery(bot).tell(chat, callback, about=last))

    def press(self, bot: Bot, client: str, body: Pressing) -> Json:
        """The client presses a button: of the keyboard, or of a rich message.

        Raises:
            Refused: no such button is on the phone.
        """
        chat = self._chat(bot, client, body.name)
        button = _find(chat, body)
        if button is None:
            raise Refused("no_such_button", "На телефоні немає такої кнопки: перевірте text або data.")
        silent = button.get("Silent") is True
        match button.get("ActionType", "reply"):
            case "share-phone":
                return self._share(bot, client, chat.user.phone_number)
            case "location-picker":
                return self.write(bot, client, Writing(kind="location"))
            case "reply":
                return self.write(bot, client, Writing(text=str(button["ActionBody"]), silent=silent))
            case "open-url":
                return {**_receipt(chat, None, None), "opens": button["ActionBody"]}
            case _:
                return _receipt(chat, None, None)

    def share_contact(self, bot: Bot, client: str, body: Sharing) -> Json:
        """The client shares a number; nothing in the callback proves that it is his."""
        chat = self._chat(bot, client, body.name)
        if body.own:
            return self._share(bot, client, body.phone_number or chat.user.phone_number)
        return self.write(bot, client, Writing(kind="contact", phone_number=body.phone_number))

    def set_devices(self, bot: Bot, client: str, body: Devices) -> Json:
        """From now on so many devices report `delivered`."""
        chat = self._chat(bot, client, body.name)
        chat.devices = body.count
        return _receipt(chat, None, None)

    def send_raw(self, bot: Bot, client: str, body: Raw) -> Json:
        """A callback of any shape."""
        chat = self._chat(bot, client, body.name)
        self._hook(bot)
        given: Json = dict(body.callback)
        callback: Json = {
            "event": "message",
            "timestamp": self._now(),
            "message_token": self._viber.tokens.take(),
            **given,
        }
        return _receipt(chat, None, self._delivery(bot).tell(chat, callback))

    def _content(self, bot: Bot, body: Writing, file: StoredFile | None) -> Json:
        """Viber's `message` of what the client writes."""
        links = self._downloads
        match body.kind:
            case "text":
                content = payloads.text(_written(body))
            case "location":
                content = payloads.location(body.latitude, body.longitude)
            case "contact":
                content = payloads.contact(body.contact_name, body.phone_number or FOREIGN_NUMBER, None)
            case "sticker":
                content = payloads.sticker(links.sticker_link(bot, body.sticker_id), body.sticker_id)
            case "url":
                content = payloads.url(body.url)
            case "unsupported":
                if body.extra is None:
                    raise Refused("no_extra", "Для kind=unsupported дайте в extra те, що надішле Viber.")
                content = {}  # the caller adds `extra` to every kind
            case _:
                assert file is not None
                content = self._media(bot, body, file)
        return content

    def _media(self, bot: Bot, body: Writing, file: StoredFile) -> Json:
        media = self._downloads.link(bot, file)
        small = media if file.thumbnail is None else self._downloads.link(bot, file.thumbnail)
        if body.kind == "photo":
            return payloads.picture(body.text or "", media, small, f"{self._now()}000.jpg", file.size)
        if body.kind == "video":
            return payloads.video(body.text or "", media, small, file.size, _milliseconds(file))
        return payloads.file(media, file.looks.name or "null", file.size)

    def _share(self, bot: Bot, client: str, phone_number: str) -> Json:
        name = self._viber.people.get(client).full_name
        card = Writing(kind="contact", phone_number=phone_number, contact_name=name)
        return self.write(bot, client, card)

    def _membership(self, bot: Bot, chat: Chat, callback: Json) -> Json:
        number = self._delivery(bot).tell(chat, callback)
        chat.changed()
        return _receipt(chat, None, number)

    def _subscribe(self, chat: Chat) -> None:
        if not chat.subscribed:
            chat.subscribed, chat.unsubscribed = True, False
            self._viber.changed()

    def _chat(self, bot: Bot, client: str, name: str | None) -> Chat:
        return bot.chat(self._viber.people.get(client, name))

    def _hook(self, bot: Bot) -> Hook:
        if bot.hook is None:
            raise Refused(
                "webhook_not_set", "Чат із ботом відкриється, коли бот матиме вебхук: підключіть канал."
            )
        return bot.hook

    def _now(self) -> int:
        return int(self._viber.clock() * 1000)


def label(button: Json) -> str:
    """What a phone writes on a button: Viber's marks are drawn, not shown."""
    return html.unescape(_TAG.sub("", str(button.get("Text", "")))).strip()


def _find(chat: Chat, body: Pressing) -> Json | None:
    """The button with the wanted label or ActionBody; with neither given, the first one."""
    keyboards: list[object] = [] if chat.keyboard is None else [chat.keyboard]
    keyboards += [
        m.content.get("rich_media") for m in reversed(chat.messages) if m.shown and not m.from_client
    ]
    for keyboard in keyboards:
        buttons = keyboard.get("Buttons") if isinstance(keyboard, dict) else None
        for button in buttons if isinstance(buttons, list) else []:
            if body.text is not None and label(button) != body.text:
                continue
            if body.data is not None and button.get("ActionBody") != body.data:
                continue
            found: Json = button
            return found
    return None


def _written(body: Writing) -> str:
    if not body.text or not body.text.strip():
        raise Refused("empty", "Порожнє повідомлення: Viber такого не надсилає. Заповніть text.")
    return body.text


def _milliseconds(file: StoredFile) -> int:
    return max(1, file.looks.duration) * 1000 + 466


def _receipt(chat: Chat, message: PhoneMessage | None, number: int | None) -> Json:
    return {
        "provider_id": None if message is None else str(message.token),
        "chat_id": chat.user_id,
        "update_id": number,
    }
