"""WhatsApp as the control API moves it: its numbers, its phones, and what clients and owners do there.

`{c}` is `/control/{channel_id}/clients/{client}`; a number without an address of its own is named by its
phone_number_id, or as `PUT /control/whatsapp/{phone_number_id}` {"channel_id"?, "callback_url"?, "fields"?}
says, which is the App Dashboard too: an app's callback, with the handshake.
`POST {c}/messages`: as everywhere, and
    "reply_to": id · "forwarded": true · "standby": true (Meta's agent holds the thread)
    "hours_ago": 25: its webhook comes that late, and the window is closed by then
    {"latitude", "longitude", "place_name"?, "address"?} · {"phone_number", "contact_name"?}
    {"unsupported": "poll", "code"?: 131052} · "extra": {"referral": {…}}: further keys of the message
`POST {c}/edit` {"text", "provider_id"?} · `delete` {"provider_id"?}: edit and revoke of a number in
    coexistence; of another one unsupported, and nothing
`react` {"emoji"?, "provider_id"?} · `press` {"text"|"data"?, "provider_id"?} · `share-contact` {"own"?}
`read` · `play` (voice) · `block` · `unblock` (no webhook tells of it) · `offline` · `online`
`wait` {"hours": 25}: the client's last message is that much older, so the window closes
`identity` {"variant"?: phone_and_user_id|user_id_only|user_id_in_from|empty_wa_id|phone_only, "username"?,
    "parent"?: true, "phone_number"?} · `change-number` {"phone_number"?}
`echo` {"text"} or {"revoke": id} · `history` {"count", "days"?, "chunk"?, "files"?, "declined"?, "later"?}:
    the Business app of a number in coexistence
`raw` {"message": {…}} or {"field", "value"} or {"payload": any JSON}: signed like the others
`type · open · subscribe`: 409, WhatsApp tells nothing of them
"""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.delivery import Watcher
from sandbox.line import is_on_its_way
from sandbox.picking import Body, Sharing
from sandbox.problems import Problem, Refused, read_body
from sandbox.uploads import Arrived
from sandbox.whatsapp.acts import (
    Deleting,
    Echoing,
    Editing,
    Moving,
    Naming,
    Pressing,
    Raw,
    Reacting,
    Remembering,
    Waiting,
    Writing,
)
from sandbox.whatsapp.clients import UNSEEN, WhatsAppPhones
from sandbox.whatsapp.codes import GraphRefusal
from sandbox.whatsapp.delivery import WhatsAppDelivery
from sandbox.whatsapp.limits import Limits
from sandbox.whatsapp.management import Management
from sandbox.whatsapp.posting import WhatsAppPosting
from sandbox.whatsapp.screen import bubble, phone
from sandbox.whatsapp.state import Chat, Json, Number, WhatsApp


class Dashboard(BaseModel):
    """Body of `PUT /control/whatsapp/{phone_number_id}`: what is set by hand outside the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callback_url: str | None = Field(None, description="Address of the app, for all its numbers")
    fields: tuple[str, ...] | None = Field(None, description="Webhook fields the app wants; none: all")
    channel_id: str | None = Field(None, description="What the control API shall call this number")


class WhatsAppLine:
    """One number."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        number: Number,
        phones: WhatsAppPhones,
        posting: WhatsAppPosting,
        delivery: WhatsAppDelivery,
        limits: Limits,
    ) -> None:
        self._whatsapp = whatsapp
        self._number = number
        self._phones = phones
        self._posting = posting
        self._delivery = delivery
        self._limits = limits

    @property
    def summary(self) -> Json | None:
        number = self._number
        if number.callback is None:
            return None
        return {
            "channel_id": number.address,
            "kind": WhatsAppLines.kind,
            "title": number.account.name,
            "username": number.account.display_phone_number,
            "connected": True,
            "polls": False,
            "pending": self._delivery.pending_count,
        }

    def webhook(self) -> Json:
        hook = self._number.callback
        if hook is None:
            raise Refused(
                "webhook_not_set", "Номер не має адреси для вебхуків: підпишіть застосунок (subscribed_apps)."
            )
        account = self._number.account
        return {
            "url": hook.url,
            "app_secret": account.app_secret,
            "verify_token": account.verify_token,
            "phone_number_id": account.phone_number_id,
            "waba_id": account.waba_id,
        }

    def revoke_token(self) -> str:
        return self._whatsapp.revoke_token(self._number)

    def clients(self) -> list[Json]:
        return [
            {"client": chat.user.client, "name": chat.user.full_name, "chat_id": chat.identity.wa_id}
            for chat in self._number.chats.values()
        ]

    def messages(self, client: str) -> list[Json]:
        chat = self._number.chats.get(client)
        return [] if chat is None else [bubble(message) for message in chat.messages if message.shown]

    def presses(self, client: str) -> list[Json]:
        return []  # a press is a message: nothing waits for an answer

    def phone(self, client: str) -> Json:
        return phone(self._number, self._chat(client), self._whatsapp.clock())

    def watchers(self, client: str) -> set[asyncio.Event]:
        return self._chat(client).watchers

    def typing_seconds(self, client: str) -> float:
        return max(0.0, self._chat(client).typing_until - self._whatsapp.clock())

    async def post(self, client: str, raw: bytes | str, arrived: Sequence[Arrived]) -> Json:
        return await self._posting.post(self._number, client, read_body(Writing, raw), arrived)

    async def act(self, client: str, action: str, raw: bytes) -> Json:
        if action in UNSEEN:
            raise Refused("not_visible_to_bots", UNSEEN[action])
        if action == "history":
            return await self._posting.remember(self._number, client, read_body(Remembering, raw))
        made = self._change(client, action, raw) or self._say(client, action, raw)
        made = made or self._handle(client, action, raw)
        if made is None:
            detail = f"Дії «{action}» у WhatsApp немає: перелік дій — в описі control API."
            raise Problem(404, "unknown_action", detail)
        return made

    def say(self, client: str, text: str, watcher: Watcher) -> bool:
        words = Writing(text=text)
        return is_on_its_way(lambda: self._phones.write(self._number, client, words, watcher=watcher))

    def reset(self) -> None:
        self._delivery.drop_pending()
        self._limits.clear()
        self._number.synced.clear()
        for chat in self._number.chats.values():
            chat.forget()
        for media_id in [m.id for m in self._whatsapp.media.values() if m.phone_number_id == self._id]:
            del self._whatsapp.media[media_id]
        self._whatsapp.changed()

    @property
    def _id(self) -> str:
        return self._number.account.phone_number_id

    def _change(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something with what is in the chat."""
        number, phones = self._number, self._phones
        match action:
            case "edit":
                return phones.edit(number, client, read_body(Editing, raw))
            case "delete":
                return phones.delete(number, client, read_body(Deleting, raw))
            case "react":
                return phones.react(number, client, read_body(Reacting, raw))
            case "read":
                return phones.read(number, client, read_body(Body, raw))
            case "play":
                return phones.play(number, client, read_body(Body, raw))
        return None

    def _say(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something new in the chat."""
        number, phones = self._number, self._phones
        match action:
            case "press":
                return phones.press(number, client, read_body(Pressing, raw))
            case "share-contact":
                return phones.share_contact(number, client, read_body(Sharing, raw))
            case "echo":
                return self._posting.echo(number, client, read_body(Echoing, raw))
            case "raw":
                return phones.send_raw(number, client, read_body(Raw, raw))
        return None

    def _handle(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something with the phone itself."""
        number, phones = self._number, self._phones
        match action:
            case "block" | "unblock":
                return phones.block(number, client, read_body(Body, raw), blocked=action == "block")
            case "offline" | "online":
                return phones.switch(number, client, read_body(Body, raw), offline=action == "offline")
            case "wait":
                return phones.wait(number, client, read_body(Waiting, raw))
            case "identity":
                return phones.name(number, client, read_body(Naming, raw))
            case "change-number":
                return phones.move(number, client, read_body(Moving, raw))
        return None

    def _chat(self, client: str) -> Chat:
        return self._phones.chat(self._number, client, None)


class WhatsAppLines:
    """All numbers of WhatsApp."""

    kind = "whatsapp"

    def __init__(
        self,
        whatsapp: WhatsApp,
        phones: WhatsAppPhones,
        posting: WhatsAppPosting,
        management: Management,
        delivery: Callable[[Number], WhatsAppDelivery],
        limits: dict[str, Limits],
    ) -> None:
        self._whatsapp = whatsapp
        self._phones = phones
        self._posting = posting
        self._management = management
        self._delivery = delivery
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """What WhatsApp alone has in the control API."""
        return [web.put("/control/whatsapp/{phone_number_id}", self._dashboard)]

    def lines(self) -> Sequence[WhatsAppLine]:
        """All numbers."""
        return [self._made(number) for number in self._whatsapp.numbers.values()]

    def line(self, channel_id: str) -> WhatsAppLine | None:
        """The number that serves the channel; its phone_number_id names it too."""
        number = self._whatsapp.number_of(channel_id)
        return None if number is None else self._made(number)

    async def _dashboard(self, request: web.Request) -> web.Response:
        number = self._whatsapp.numbers.get(request.match_info["phone_number_id"])
        if number is None:
            raise Problem(404, "number_not_found", "Такого phone_number_id немає: перевірте налаштування.")
        body = read_body(Dashboard, await request.read())
        if body.channel_id is not None:
            number.channel_name = body.channel_id
            self._whatsapp.changed()
        if body.callback_url is not None:
            try:
                await self._management.set_app_callback(number.app, number, body.callback_url, body.fields)
            except GraphRefusal as refused:
                words = f"Адреса не пройшла перевірку: {refused.message}"
                raise Problem(422, "callback_refused", words) from refused
        hook = number.callback
        url = None if hook is None else hook.url
        return web.json_response({"channel_id": number.address, "callback": url})

    def _made(self, number: Number) -> WhatsAppLine:
        limits = self._limits[number.account.phone_number_id]
        return WhatsAppLine(
            self._whatsapp, number, self._phones, self._posting, self._delivery(number), limits
        )
