"""Telegram as the control API moves it: its bots, its phones and what a client can do there."""

import asyncio
from collections.abc import Callable, Sequence

from sandbox.delivery import Watcher
from sandbox.line import is_on_its_way
from sandbox.picking import Body, Sharing
from sandbox.problems import Problem, Refused, read_body
from sandbox.telegram.acts import Editing, Pressing, Unblocking, Writing
from sandbox.telegram.clients import UNSEEN, Phones
from sandbox.telegram.delivery import TelegramDelivery
from sandbox.telegram.payloads import Json
from sandbox.telegram.posting import Posting
from sandbox.telegram.screen import bubble, phone, presses
from sandbox.telegram.state import Bot, Chat, Telegram
from sandbox.uploads import Arrived


class TelegramLine:
    """One bot."""

    def __init__(
        self, telegram: Telegram, bot: Bot, phones: Phones, posting: Posting, delivery: TelegramDelivery
    ) -> None:
        self._telegram = telegram
        self._bot = bot
        self._phones = phones
        self._posting = posting
        self._delivery = delivery

    @property
    def summary(self) -> Json | None:
        bot = self._bot
        if bot.channel_id is None and not bot.polls:
            return None
        return {
            "channel_id": bot.address,
            "kind": TelegramLines.kind,
            "title": bot.account.name,
            "username": bot.account.username,
            "connected": bot.webhook is not None,
            "polls": bot.polls,
            "pending": self._delivery.pending_count,
        }

    def webhook(self) -> Json:
        webhook = self._bot.webhook
        if webhook is None:
            raise Refused("webhook_not_set", "Бот зняв свій вебхук: підключіть канал знову (setWebhook).")
        return {"url": webhook.url, "secret_token": webhook.secret_token}

    def revoke_token(self) -> str:
        return self._telegram.revoke_token(self._bot)

    def clients(self) -> list[Json]:
        chats = self._bot.chats.values()
        return [{"client": c.user.client, "name": c.user.full_name, "chat_id": c.user.id} for c in chats]

    def messages(self, client: str) -> list[Json]:
        chat = self._known(client)
        return [] if chat is None else [bubble(message) for message in chat.messages]

    def presses(self, client: str) -> list[Json]:
        chat = self._known(client)
        return [] if chat is None else presses(chat)

    def phone(self, client: str) -> Json:
        return phone(self._bot, self._chat(client), self._telegram.clock())

    def watchers(self, client: str) -> set[asyncio.Event]:
        return self._chat(client).watchers

    def typing_seconds(self, client: str) -> float:
        return self._chat(client).typing_until - self._telegram.clock()

    async def post(self, client: str, raw: bytes | str, arrived: Sequence[Arrived]) -> Json:
        return await self._posting.post(self._bot, client, read_body(Writing, raw), arrived)

    async def act(self, client: str, action: str, raw: bytes) -> Json:
        if action in UNSEEN:
            raise Refused("not_visible_to_bots", UNSEEN[action])
        phones = self._phones
        match action:
            case "edit":
                return phones.edit(self._bot, client, read_body(Editing, raw))
            case "block":
                return phones.block(self._bot, client, read_body(Body, raw))
            case "unblock":
                return phones.unblock(self._bot, client, read_body(Unblocking, raw))
            case "press":
                return phones.press(self._bot, client, read_body(Pressing, raw))
            case "share-contact":
                return phones.share_contact(self._bot, client, read_body(Sharing, raw))
            case _:
                raise Problem(
                    404, "unknown_action", f"Дії «{action}» у Telegram немає: див. опис control API."
                )

    def say(self, client: str, text: str, watcher: Watcher) -> bool:
        words = Writing(text=text)
        return is_on_its_way(lambda: self._phones.write(self._bot, client, words, watcher=watcher))

    def reset(self) -> None:
        self._delivery.drop_pending()
        for chat in self._bot.chats.values():
            chat.forget()
        self._bot.queries.clear()

    def _chat(self, client: str) -> Chat:
        return self._bot.chat(self._telegram.people.get(client))

    def _known(self, client: str) -> Chat | None:
        return next((chat for chat in self._bot.chats.values() if chat.user.client == client), None)


class TelegramLines:
    """All bots of Telegram."""

    kind = "telegram_bot"

    def __init__(
        self,
        telegram: Telegram,
        phones: Phones,
        posting: Posting,
        delivery: Callable[[Bot], TelegramDelivery],
    ) -> None:
        self._telegram = telegram
        self._phones = phones
        self._posting = posting
        self._delivery = delivery

    def lines(self) -> Sequence[TelegramLine]:
        """All bots."""
        return [self._made(bot) for bot in self._telegram.bots.values()]

    def line(self, channel_id: str) -> TelegramLine | None:
        """The bot that serves the channel; the number in its token names a bot too."""
        bot = self._telegram.bot_of(channel_id)
        return None if bot is None else self._made(bot)

    def _made(self, bot: Bot) -> TelegramLine:
        return TelegramLine(self._telegram, bot, self._phones, self._posting, self._delivery(bot))
