"""What clients do on their phones, and the updates a bot gets from it."""

import secrets
from collections.abc import Callable

from sandbox.delivery import Update, Watcher
from sandbox.files import StoredFile
from sandbox.picking import Body, Sharing
from sandbox.problems import Refused
from sandbox.telegram import media, payloads
from sandbox.telegram.acts import Editing, Pressing, Unblocking, Writing
from sandbox.telegram.delivery import CALLBACK_LIFE_SECONDS, MESSAGE_LIFE_SECONDS, TelegramDelivery
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot, Chat, PhoneMessage, Press, Telegram

FOREIGN_NUMBER = "380500000000"
"""A number that belongs to nobody here."""
UNSEEN = {
    "read": "Telegram не повідомляє ботам про прочитання: події для цього в Bot API немає.",
    "delete": "Telegram не повідомляє ботам про видалені повідомлення: події для цього в Bot API немає.",
    "type": "Telegram не повідомляє ботам, що клієнт друкує: події для цього в Bot API немає.",
}


class Phones:
    """The phones of everybody, for all bots."""

    def __init__(self, telegram: Telegram, delivery: Callable[[Bot], TelegramDelivery]) -> None:
        self._telegram = telegram
        self._delivery = delivery

    def write(
        self,
        bot: Bot,
        client: str,
        body: Writing,
        watcher: Watcher | None = None,
        file: StoredFile | None = None,
    ) -> Json:
        """The client sends a message; `file` is what a message of its kind carries.

        Raises:
            Refused: the bot is blocked, or the message cannot be written.
        """
        chat = self._chat(bot, client, body.name)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував бота: спершу викличте unblock.")
        message_id = bot.message_ids.take()
        content = _content(body)
        if file is not None:
            content = {**media.content(file), **content}
        if body.media_group_id is not None:
            content = {"media_group_id": body.media_group_id, **content}
        if body.extra is not None:
            content = {**content, **body.extra}
        message = PhoneMessage(
            message_id=message_id,
            from_client=True,
            kind=body.kind,
            content=content,
            at=self._telegram.clock(),
            reply_to=body.reply_to,
            file=file,
        )
        return self._sent(bot, chat, message, watcher)

    def edit(self, bot: Bot, client: str, body: Editing) -> Json:
        """The client edits a message of his.

        Raises:
            Refused: there is no such message of his, or the bot is blocked.
        """
        chat = self._chat(bot, client, body.name)
        message = self._own(chat, body.provider_id)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував бота: бот не отримає змін. Спершу викличте unblock.")
        if message.kind == "text":
            content = payloads.text(body.text)
        else:
            kept = {k: v for k, v in message.content.items() if k not in ("caption", "caption_entities")}
            content = {**kept, **payloads.caption(body.text)}
        message.content = content
        message.edited_at = self._telegram.clock()
        update_id = self._post_message(bot, chat, message, "edited_message", None)
        chat.changed()
        return _receipt(chat, message, update_id)

    def block(self, bot: Bot, client: str, body: Body) -> Json:
        """The client blocks the bot (deleting the chat looks the same to a bot).

        Raises:
            Refused: it is blocked already.
        """
        chat = self._chat(bot, client, body.name)
        if chat.blocked:
            raise Refused("already_blocked", "Бота вже заблоковано цим клієнтом.")
        chat.blocked = chat.started = True
        payload = payloads.blocked(bot.account, chat.user, self._telegram.clock())
        return self._membership(bot, chat, payload)

    def unblock(self, bot: Bot, client: str, body: Unblocking) -> Json:
        """The client unblocks the bot.

        Raises:
            Refused: it is not blocked.
        """
        chat = self._chat(bot, client, body.name)
        if not chat.blocked:
            raise Refused("not_blocked", "Бота не заблоковано цим клієнтом: знімати нічого.")
        chat.blocked = False
        payload = payloads.unblocked(bot.account, chat.user, self._telegram.clock())
        receipt = self._membership(bot, chat, payload)
        return self.write(bot, client, Writing(text="/start")) if body.start else receipt

    def press(self, bot: Bot, client: str, body: Pressing) -> Json:
        """The client presses a button of a keyboard.

        Raises:
            Refused: no such button is on the phone.
        """
        chat = self._chat(bot, client, body.name)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував бота: спершу викличте unblock.")
        for message in self._with_inline_keyboard(chat, body.provider_id):
            button = _find(message.keyboard, "inline_keyboard", body)
            if body.forge and button is None and body.data is not None:
                button = {"text": "", "callback_data": body.data}
            if button is not None:
                return self._press_inline(bot, chat, message, button)
        button = _find(chat.keyboard, "keyboard", body)
        if button is None:
            raise Refused(
                "no_such_button", "На телефоні немає такої кнопки: перевірте text, data, provider_id."
            )
        keyboard_message_id = chat.keyboard_message_id
        if chat.keyboard is not None and chat.keyboard.get("one_time_keyboard") is True:
            chat.keyboard = None
        if button.get("request_contact") is True:
            return self._share(bot, chat, chat.user.phone_number, keyboard_message_id)
        if button.get("request_location") is True:
            return self.write(bot, client, Writing(kind="location", reply_to=keyboard_message_id))
        return self.write(bot, client, Writing(text=str(button["text"])))

    def share_contact(self, bot: Bot, client: str, body: Sharing) -> Json:
        """The client shares a number: only his own card carries his user id, which proves it is his."""
        chat = self._chat(bot, client, body.name)
        if chat.blocked:
            raise Refused("blocked", "Клієнт заблокував бота: спершу викличте unblock.")
        if not body.own:
            card = Writing(kind="contact", phone_number=body.phone_number)
            return self.write(bot, client, card)
        return self._share(bot, chat, body.phone_number or chat.user.phone_number, chat.keyboard_message_id)

    def _chat(self, bot: Bot, client: str, name: str | None) -> Chat:
        person = self._telegram.people.get(client, name)
        chat = bot.chat(person)
        chat.user = person
        return chat

    def _share(self, bot: Bot, chat: Chat, phone_number: str, reply_to: int | None) -> Json:
        message = PhoneMessage(
            message_id=bot.message_ids.take(),
            from_client=True,
            kind="contact",
            content=payloads.contact(phone_number, chat.user.first_name, chat.user.id),
            at=self._telegram.clock(),
            reply_to=reply_to,
        )
        return self._sent(bot, chat, message, None)

    def _sent(self, bot: Bot, chat: Chat, message: PhoneMessage, watcher: Watcher | None) -> Json:
        chat.started = True
        chat.messages.append(message)
        update_id = self._post_message(bot, chat, message, "message", watcher)
        chat.changed()
        return _receipt(chat, message, update_id)

    def _post_message(
        self, bot: Bot, chat: Chat, message: PhoneMessage, kind: str, watcher: Watcher | None
    ) -> int | None:
        return self._put(
            bot,
            chat,
            kind,
            ("message", chat.user.id),
            message_json(bot, chat, message),
            message=message,
            life_seconds=MESSAGE_LIFE_SECONDS,
            watcher=watcher,
        )

    def _membership(self, bot: Bot, chat: Chat, payload: Json) -> Json:
        update_id = self._put(bot, chat, "my_chat_member", ("my_chat_member", chat.user.id), payload)
        chat.changed()
        return _receipt(chat, None, update_id)

    def _press_inline(self, bot: Bot, chat: Chat, message: PhoneMessage, button: Json) -> Json:
        data = button.get("callback_data")
        if not isinstance(data, str):
            raise Refused("opens_a_page", "Ця кнопка відкриває посилання: бот про натискання не дізнається.")
        query_id = str(secrets.randbits(62))
        press = Press(
            query_id, chat.user.id, message.message_id, str(button["text"]), data, self._telegram.clock()
        )
        bot.queries[query_id] = press
        chat.presses.append(press)
        chat.notice = None
        payload = payloads.callback_query(query_id, chat.user, message_json(bot, chat, message), data)
        update_id = self._put(
            bot,
            chat,
            "callback_query",
            ("callback_query", chat.user.id),
            payload,
            life_seconds=CALLBACK_LIFE_SECONDS,
        )
        chat.changed()
        return {**_receipt(chat, message, update_id), "callback_query_id": query_id}

    def _put(
        self,
        bot: Bot,
        chat: Chat,
        kind: str,
        queue: tuple[str, int],
        payload: Json,
        *,
        message: PhoneMessage | None = None,
        life_seconds: float = MESSAGE_LIFE_SECONDS,
        watcher: Watcher | None = None,
    ) -> int | None:
        """Queue an update if the bot wants its kind; None when it does not."""
        delivery = self._delivery(bot)
        if not delivery.wants(kind):
            return None
        update_id = bot.update_ids.take()
        delivery.put(
            Update(
                id=update_id,
                kind=kind,
                queue=queue,
                body=payloads.update(update_id, kind, payload),
                client=chat.user.client,
                chat_id=chat.user.id,
                message_id=None if message is None else message.message_id,
                text=None if message is None else message.text,
                expires_at=self._telegram.clock() + life_seconds,
                watcher=watcher,
            )
        )
        return update_id

    def _own(self, chat: Chat, provider_id: str | None) -> PhoneMessage:
        own = (m for m in reversed(chat.messages) if m.from_client)
        found = next((m for m in own if provider_id is None or str(m.message_id) == provider_id), None)
        if found is None:
            raise Refused(
                "no_such_message", "Такого повідомлення клієнта на телефоні немає: перевірте provider_id."
            )
        return found

    def _with_inline_keyboard(self, chat: Chat, provider_id: str | None) -> list[PhoneMessage]:
        return [
            m
            for m in reversed(chat.messages)
            if m.keyboard is not None and (provider_id is None or str(m.message_id) == provider_id)
        ]


def message_json(bot: Bot, chat: Chat, message: PhoneMessage, *, with_reply: bool = True) -> Json:
    """Telegram's `Message` for a bubble of this dialogue. A quoted message never quotes another one."""
    quoted = None if message.reply_to is None or not with_reply else chat.message(message.reply_to)
    return payloads.message(
        message_id=message.message_id,
        sender=payloads.user(chat.user) if message.from_client else payloads.bot_user(bot.account),
        chat=payloads.private_chat(chat.user),
        date=message.at,
        edit_date=message.edited_at,
        reply_to=None if quoted is None else message_json(bot, chat, quoted, with_reply=False),
        content=message.content,
        keyboard=message.keyboard,
    )


def _content(body: Writing) -> Json:
    """Telegram's content of what the client writes, without the part that is a file."""
    match body.kind:
        case "text":
            if not body.text or not body.text.strip():
                raise Refused("empty", "Порожнє повідомлення: Telegram такого не надсилає. Заповніть text.")
            return payloads.text(body.text)
        case "location":
            return payloads.location(body.latitude, body.longitude)
        case "contact":
            return payloads.contact(body.phone_number or FOREIGN_NUMBER, "Знайомий", None)
        case "unsupported":
            if body.extra is None:
                raise Refused("no_extra", "Для kind=unsupported дайте в extra те, що надішле Telegram.")
            return {}  # the caller adds `extra` to every kind
        case "sticker" | "video_note":
            return {}
        case _:
            return payloads.caption(body.text)


def _receipt(chat: Chat, message: PhoneMessage | None, update_id: int | None) -> Json:
    return {
        "provider_id": None if message is None else str(message.message_id),
        "chat_id": chat.user.id,
        "update_id": update_id,
    }


def _find(keyboard: Json | None, rows_key: str, body: Pressing) -> Json | None:
    """The button with the wanted label or data; with neither given, the first one."""
    rows = None if keyboard is None else keyboard.get(rows_key)
    if not isinstance(rows, list):
        return None
    for row in rows:
        for button in row:
            if body.text is not None and button.get("text") != body.text:
                continue
            if body.data is not None and button.get("callback_data") != body.data:
                continue
            found: Json = button
            return found
    return None
