"""Viber as the control API moves it: its bots, its phones and what a client can do there."""

import asyncio
from collections.abc import Callable, Sequence

from sandbox.delivery import Watcher
from sandbox.line import is_on_its_way
from sandbox.picking import Body, Sharing
from sandbox.problems import Problem, Refused, read_body
from sandbox.uploads import Arrived
from sandbox.viber.acts import Devices, Opening, Pressing, Raw, Writing
from sandbox.viber.clients import UNSEEN, ViberPhones
from sandbox.viber.delivery import ViberDelivery
from sandbox.viber.posting import ViberPosting
from sandbox.viber.screen import bubble, phone
from sandbox.viber.state import Bot, Chat, Json, Viber


class ViberLine:
    """One bot."""

    def __init__(
        self, viber: Viber, bot: Bot, phones: ViberPhones, posting: ViberPosting, delivery: ViberDelivery
    ) -> None:
        self._viber = viber
        self._bot = bot
        self._phones = phones
        self._posting = posting
        self._delivery = delivery

    @property
    def summary(self) -> Json | None:
        bot = self._bot
        if bot.channel_id is None:
            return None
        return {
            "channel_id": bot.address,
            "kind": ViberLines.kind,
            "title": bot.account.name,
            "username": bot.account.uri,
            "connected": bot.hook is not None,
            "polls": False,
            "pending": self._delivery.pending_count,
        }

    def webhook(self) -> Json:
        hook = self._bot.hook
        if hook is None:
            raise Refused("webhook_not_set", "Бот зняв свій вебхук: підключіть канал знову (set_webhook).")
        return {"url": hook.url, "token": self._bot.account.token}

    def revoke_token(self) -> str:
        return self._viber.revoke_token(self._bot)

    def clients(self) -> list[Json]:
        return [
            {"client": chat.user.client, "name": chat.user.full_name, "chat_id": chat.user_id}
            for chat in self._bot.chats.values()
        ]

    def messages(self, client: str) -> list[Json]:
        chat = self._bot.chats.get(client)
        return [] if chat is None else [bubble(message) for message in chat.messages if message.shown]

    def presses(self, client: str) -> list[Json]:
        return []  # a press of Viber is a message: nothing waits for an answer

    def phone(self, client: str) -> Json:
        return phone(self._bot, self._chat(client))

    def watchers(self, client: str) -> set[asyncio.Event]:
        return self._chat(client).watchers

    def typing_seconds(self, client: str) -> float:
        return 0.0

    async def post(self, client: str, raw: bytes | str, arrived: Sequence[Arrived]) -> Json:
        return await self._posting.post(self._bot, client, read_body(Writing, raw), arrived)

    async def act(self, client: str, action: str, raw: bytes) -> Json:
        if action in UNSEEN:
            raise Refused("not_visible_to_bots", UNSEEN[action])
        made = self._member(client, action, raw) or self._doing(client, action, raw)
        if made is None:
            detail = f"Дії «{action}» у Viber немає: перелік дій — в описі control API."
            raise Problem(404, "unknown_action", detail)
        return made

    def say(self, client: str, text: str, watcher: Watcher) -> bool:
        words = Writing(text=text)
        return is_on_its_way(lambda: self._phones.write(self._bot, client, words, watcher=watcher))

    def reset(self) -> None:
        self._delivery.drop_pending()
        for chat in self._bot.chats.values():
            chat.forget()
        self._viber.changed()

    def _member(self, client: str, action: str, raw: bytes) -> Json | None:
        """The client comes and goes."""
        match action:
            case "open":
                return self._phones.open(self._bot, client, read_body(Opening, raw))
            case "subscribe" | "unblock":
                return self._phones.subscribe(self._bot, client, read_body(Body, raw))
            case "block":
                return self._phones.unsubscribe(self._bot, client, read_body(Body, raw))
        return None

    def _doing(self, client: str, action: str, raw: bytes) -> Json | None:
        """The client does something in the chat."""
        match action:
            case "read":
                return self._phones.read(self._bot, client, read_body(Body, raw))
            case "press":
                return self._phones.press(self._bot, client, read_body(Pressing, raw))
            case "share-contact":
                return self._phones.share_contact(self._bot, client, read_body(Sharing, raw))
            case "devices":
                return self._phones.set_devices(self._bot, client, read_body(Devices, raw))
            case "raw":
                return self._phones.send_raw(self._bot, client, read_body(Raw, raw))
        return None

    def _chat(self, client: str) -> Chat:
        return self._bot.chat(self._viber.people.get(client))


class ViberLines:
    """All bots of Viber."""

    kind = "viber_bot"

    def __init__(
        self,
        viber: Viber,
        phones: ViberPhones,
        posting: ViberPosting,
        delivery: Callable[[Bot], ViberDelivery],
    ) -> None:
        self._viber = viber
        self._phones = phones
        self._posting = posting
        self._delivery = delivery

    def lines(self) -> Sequence[ViberLine]:
        """All bots."""
        return [self._made(bot) for bot in self._viber.bots.values()]

    def line(self, channel_id: str) -> ViberLine | None:
        """The bot that serves the channel; its uri names a bot too."""
        bot = self._viber.bot_of(channel_id)
        return None if bot is None else self._made(bot)

    def _made(self, bot: Bot) -> ViberLine:
        return ViberLine(self._viber, bot, self._phones, self._posting, self._delivery(bot))
