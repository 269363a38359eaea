"""Pages and Instagram accounts as the control API moves them: clients, the staff's own inbox, Meta itself.

`{c}` is `/control/{channel_id}/clients/{client}`; what has a callback that does not end with a channel is
named by its page id or Instagram id, or as settings or dashboard say (`channel_id`). Thin thread:
    PUT /control/meta/{id} {"callback_url"}          the app's callback is saved, with the handshake
    POST /graph-meta/v25.0/{page_id}/subscribed_apps?subscribed_fields=messages,message_echoes,…
    POST {c}/messages {"text": "Добрий день"}          → webhook
    POST /graph-meta/v25.0/{page_id}/messages {"recipient": {"id": <chat_id>}, …}  → phone, echo, delivery
    POST {c}/read {}                                   → webhook
`PUT /control/meta/{id}` {"callback_url"?, "fields"?, "channel_id"?} as in the App Dashboard, and of Meta:
    "unsubscribe": true: the app is dropped from this page or account at once, what waits is lost
    "human_agent": bool · "permissions": false (200) · "token": ok|expired|removed|password|invalid
    "token_expires_in": seconds · "token_age": seconds · "expire_attachments": true
    "details": 20: the Conversations API shows only so many of a dialogue's newest messages whole (0: all)
    → {"channel_id", "callback", "subscribed_fields"|null, "human_agent", "token"}; `GET` tells the same
`POST {c}/messages`: as everywhere, with several files one message of several attachments, and
    "reply_to": mid · "sent_at": ms or "seconds_ago": earlier, both windows count from it · "in_seconds": true
    {"kind": "sticker", "sticker_id"?, "doubled"?} · {"kind": "location"} · like · post · reel · ig_reel ·
    share · story · story_reply {"text"} · story_mention · ephemeral · unsupported · appointment · product;
    "url"?, "title"? of what it points at ("/reel/123/" is relative) · "referral": {…} · "standby": true ·
    "extra": further keys of `message`
`press` {"text"|"data"?, "provider_id"?} quick reply or button · `start` {"payload"?, "ref"?, "without_mid"?,
    "as_text"?} postback · `referral` {"ref"?, "extra"?, "in_seconds"?} alone · `optin` {"user_ref"?} ·
`react` {"emoji" ("" takes it away), "provider_id"?} · `edit` {"text", "provider_id"?, "as_text"?} five
    times · `delete` {"provider_id"?, "web"?} Instagram's unsend (a page hears nothing) ·
`read` {"provider_id"?, "watermark"?} · `deliver` {"mids"?: bool, "watermark"?} page only; a phone that is on
    reports by itself · `block` · `unblock` · `deactivate` · `activate` (2018108) · `offline` · `online` ·
`wait` {"hours"?, "seconds"?} · `requests` {"on"?} ·
`profile` {"variant": ok|consent|no_match|phone_account|empty} ·
`handover` {"to": inbox|app|nobody, "metadata"?}: who holds the thread; with metadata our app is told ·
`inbox` {"text"} or {"kind": "photo", …}, "reply_to"?, "sent_at"?: the staff answer in Meta's own app ·
`story` {} → {"id", "title", "url"}: the client looks at what the account shows today ·
`policy` {"action", "reason"} · `raw` {"message"|"element": {…}} or {"payload": any JSON}: signed as all are
`type · open · subscribe`: 409, Meta tells nothing of them
While the app is not subscribed everything is said all the same: receipts have `update_id` null, and the
Conversations API has it. A tag inside 24 h is taken; the ledger then has an entry `policy_violation`.
"""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.delivery import Watcher
from sandbox.line import is_on_its_way
from sandbox.meta import payloads
from sandbox.meta.acts import (
    Coming,
    Deleting,
    Desk,
    Editing,
    Filing,
    Handing,
    Opting,
    Policing,
    Pressing,
    Raw,
    Reacting,
    Reading,
    Receiving,
    Showing,
    Starting,
    Waiting,
    Writing,
)
from sandbox.meta.cdn import Cdn
from sandbox.meta.clients import MetaPhones
from sandbox.meta.codes import GraphRefusal
from sandbox.meta.delivery import MetaDelivery
from sandbox.meta.limits import Limits
from sandbox.meta.management import Management
from sandbox.meta.network import Meta
from sandbox.meta.posting import MetaPosting
from sandbox.meta.screen import bubble, phone, story
from sandbox.meta.sending import Sending
from sandbox.meta.state import INBOX_APP_ID, Business, Chat, Hook, Json, Kind, TokenState
from sandbox.picking import Body
from sandbox.problems import Problem, Refused, read_body
from sandbox.uploads import Arrived

NO_CALLBACK = 'Застосунок не має адреси: PUT /control/meta/{id} {"callback_url": …}.'
UNSEEN = {
    "type": "Meta не повідомляє, що клієнт друкує: такої події немає.",
    "open": "Meta не повідомляє, що клієнт відкрив чат: надішліть повідомлення або start.",
    "subscribe": "Підписки клієнта в Meta немає: клієнт просто пише.",
}


class Dashboard(BaseModel):
    """Body of `PUT /control/meta/{id}`: what is set by hand outside the API, and what Meta does by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callback_url: str | None = Field(None, description="Of the app, for this object: page or instagram")
    fields: tuple[str, ...] | None = Field(None, description="Fields ticked in the dashboard; none: all")
    channel_id: str | None = Field(None, description="What the control API shall call it")
    unsubscribe: bool = Field(False, description="The app is dropped from the page or account")
    human_agent: bool | None = Field(None, description="The Human Agent feature was granted")
    permissions: bool | None = Field(None, description="False: messaging was not granted, 200")
    token: TokenState | None = Field(None, description="State of all its tokens")
    token_expires_in: float | None = Field(None, description="Seconds; of all its tokens")
    token_age: float | None = Field(None, ge=0, description="Seconds since they were given out")
    expire_attachments: bool = Field(False, description="All attachment ids end now")
    details: int | None = Field(None, ge=0, description="Newest messages of a dialogue shown whole; 0: all")


class MetaLine:
    """One page or account."""

    def __init__(self, business: Business, lines: "MetaLines") -> None:
        self._business = business
        self._lines = lines

    @property
    def summary(self) -> Json | None:
        business = self._business
        is_subscribed = self._lines.meta.fields_of(business) is not None
        # A lost subscription does not take the phone out of the clients' hands.
        if business.hook is None or not (is_subscribed or any(c.messages for c in business.chats.values())):
            return None
        return {
            "channel_id": business.address,
            "kind": business.kind,
            "title": business.account.name,
            "username": business.account.username,
            "connected": is_subscribed,
            "polls": False,
            "pending": self._lines.delivery(business).pending_count,
        }

    def webhook(self) -> Json:
        hook, account = self._business.hook, self._business.account
        if hook is None:
            raise Refused("webhook_not_set", NO_CALLBACK)
        return {
            "url": hook.url,
            "app_secret": account.app_secret,
            "verify_token": account.verify_token,
            "account_id": account.id,
            "object": account.object,
        }

    def revoke_token(self) -> str:
        return self._lines.meta.revoke_token(self._business)

    def clients(self) -> list[Json]:
        return [
            {"client": chat.user.client, "name": chat.user.full_name, "chat_id": chat.id}
            for chat in self._business.chats.values()
        ]

    def messages(self, client: str) -> list[Json]:
        chat = self._business.chats.get(client)
        return [] if chat is None else [bubble(message) for message in chat.messages if message.shown]

    def presses(self, client: str) -> list[Json]:
        return []  # a press is a message: nothing waits for an answer

    def phone(self, client: str) -> Json:
        return phone(self._business, self._chat(client), self._lines.meta.clock())

    def watchers(self, client: str) -> set[asyncio.Event]:
        return self._chat(client).watchers

    def typing_seconds(self, client: str) -> float:
        return max(0.0, self._chat(client).typing_until - self._lines.meta.clock())

    async def post(self, client: str, raw: bytes | str, arrived: Sequence[Arrived]) -> Json:
        return await self._lines.posting.post(self._business, client, read_body(Writing, raw), arrived)

    async def act(self, client: str, action: str, raw: bytes) -> Json:
        if action in UNSEEN:
            raise Refused("not_visible_to_bots", UNSEEN[action])
        if action == "inbox":
            return await self._lines.posting.answer(self._business, client, read_body(Desk, raw))
        if action == "story":
            return story(await self._lines.posting.story(self._business))
        made = self._say(client, action, raw) or self._event(client, action, raw)
        made = made or self._handle(client, action, raw)
        if made is None:
            detail = f"Дії «{action}» у Meta немає: перелік дій — в описі control API."
            raise Problem(404, "unknown_action", detail)
        return made

    def say(self, client: str, text: str, watcher: Watcher) -> bool:
        words = Writing(text=text)
        phones = self._lines.phones
        return is_on_its_way(lambda: phones.write(self._business, client, words, watcher=watcher))

    def reset(self) -> None:
        lines, business = self._lines, self._business
        lines.delivery(business).drop_pending()
        lines.limits[business.account.id].clear()
        lines.cdn.forget(business)
        business.human_agent, business.permissions = business.account.human_agent, True
        business.story, business.details = None, None
        for chat in business.chats.values():
            chat.forget()
        lines.meta.changed()

    def _say(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something of the client's in the chat."""
        business, phones = self._business, self._lines.phones
        known: dict[str, Callable[[], Json]] = {
            "press": lambda: phones.press(business, client, read_body(Pressing, raw)),
            "start": lambda: phones.start(business, client, read_body(Starting, raw)),
            "referral": lambda: phones.come(business, client, read_body(Coming, raw)),
            "react": lambda: phones.react(business, client, read_body(Reacting, raw)),
            "edit": lambda: phones.edit(business, client, read_body(Editing, raw)),
            "delete": lambda: phones.unsend(business, client, read_body(Deleting, raw)),
            "read": lambda: phones.read(business, client, read_body(Reading, raw)),
        }
        do = known.get(action)
        return None if do is None else do()

    def _event(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something of Meta's, or of a shape of its own."""
        business, lines = self._business, self._lines
        chat = self._chat(client)
        delivery = lines.delivery(business)
        now_ms = int(lines.meta.clock() * 1000)
        match action:
            case "deliver":
                report = read_body(Receiving, raw)
                waiting = [m for m in chat.messages if not m.from_client and m.state == "sent"]
                number = lines.sending.deliver(
                    business, chat, waiting, with_ids=report.mids, watermark=report.watermark
                )
                return _receipt(chat, number)
            case "policy":
                told = read_body(Policing, raw).model_dump(include={"action", "reason"})
                element: Json = {"recipient": {"id": business.account.id}, "timestamp": now_ms}
                element["policy_enforcement"] = told
                return _receipt(
                    chat, delivery.tell(("messaging_policy_enforcement",), element, kind="policy")
                )
            case "optin":
                opting = read_body(Opting, raw)
                element = payloads.from_client(business, chat, now_ms)
                if opting.user_ref is not None:
                    element["sender"] = {"user_ref": opting.user_ref}
                kind = "notification_messages"
                element["optin"] = {"type": kind, "payload": opting.payload, f"{kind}_token": "tok"}
                return _receipt(chat, delivery.tell(("messaging_optins",), element, kind="optin", chat=chat))
            case "raw":
                return _receipt(chat, self._raw(chat, read_body(Raw, raw), now_ms))
            case "handover":
                order = read_body(Handing, raw)
                app_id = {"inbox": INBOX_APP_ID, "app": business.app.id, "nobody": None}[order.to]
                return _receipt(chat, lines.management.own(business, chat, app_id, metadata=order.metadata))
        return None

    def _raw(self, chat: Chat, body: Raw, now_ms: int) -> int | None:
        business = self._business
        delivery = self._lines.delivery(business)
        if body.message is not None:
            element = payloads.from_client(business, chat, now_ms, message=dict(body.message))
        elif body.element is not None:
            element = {**payloads.from_client(business, chat, now_ms), **body.element}
        else:
            return delivery.tell_raw(body.payload, chat)
        return delivery.tell(("messages",), element, kind="raw", chat=chat)

    def _handle(self, client: str, action: str, raw: bytes) -> Json | None:
        """Something with the phone itself, or with what Meta says of the client."""
        chat = self._chat(client)
        match action:
            case "block" | "unblock" | "deactivate" | "activate" | "offline" | "online":
                read_body(Body, raw)
                self._switch(chat, action)
            case "wait":
                waiting = read_body(Waiting, raw)
                seconds = waiting.seconds or waiting.hours * 3600
                if chat.wrote_at is not None:
                    chat.wrote_at -= seconds
            case "profile":
                chat.profile = read_body(Showing, raw).variant
            case "requests":
                chat.requests = read_body(Filing, raw).on
            case _:
                return None
        chat.changed()
        return _receipt(chat, None)

    def _switch(self, chat: Chat, action: str) -> None:
        match action:
            case "block" | "unblock":
                if chat.blocked == (action == "block"):
                    code = "already_blocked" if chat.blocked else "not_blocked"
                    raise Refused(code, "Клієнт уже так і зробив: міняти нічого.")
                chat.blocked = action == "block"
            case "deactivate" | "activate":
                chat.gone = action == "deactivate"
            case "offline":
                chat.offline = True
            case "online":
                chat.offline = False
                waiting = [m for m in chat.messages if not m.from_client and not m.shown]
                for message in waiting:
                    message.shown = True
                self._lines.sending.deliver(self._business, chat, waiting)

    def _chat(self, client: str) -> Chat:
        return self._lines.phones.chat(self._business, client, None)


class MetaLines:
    """All pages, or all Instagram accounts."""

    def __init__(
        self,
        kind: Kind,
        meta: Meta,
        phones: MetaPhones,
        posting: MetaPosting,
        sending: Sending,
        management: Management,
        cdn: Cdn,
        delivery: Callable[[Business], MetaDelivery],
        limits: dict[str, Limits],
    ) -> None:
        self.kind = kind
        self.meta = meta
        self.phones = phones
        self.posting = posting
        self.sending = sending
        self.management = management
        self.cdn = cdn
        self.delivery = delivery
        self.limits = limits

    def lines(self) -> Sequence[MetaLine]:
        """All of this kind."""
        return [MetaLine(b, self) for b in self.meta.businesses.values() if b.kind == self.kind]

    def line(self, channel_id: str) -> MetaLine | None:
        """The page or account that serves the channel; its id names it too."""
        business = self.meta.business_of(channel_id, self.kind)
        return None if business is None else MetaLine(business, self)


class MetaDashboard:
    """`/control/meta/{id}`: the App Dashboard, and what Meta does without being asked."""

    def __init__(self, lines: Sequence[MetaLines]) -> None:
        self._lines = lines

    def routes(self) -> list[web.RouteDef]:
        """What Meta alone has in the control API."""
        return [
            web.put("/control/meta/{account}", self._change),
            web.get("/control/meta/{account}", self._show),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        lines, business = self._found(request)
        return web.json_response(_state(lines.meta, business))

    async def _change(self, request: web.Request) -> web.Response:
        lines, business = self._found(request)
        meta = lines.meta
        body = read_body(Dashboard, await request.read())
        if body.channel_id is not None:
            business.channel_name = body.channel_id
            meta.changed()
        if body.callback_url is not None:
            hook = Hook(url=body.callback_url, fields=body.fields)
            try:
                await lines.management.set_callback(business.app, business, hook)
            except GraphRefusal as refused:
                words = f"Адреса не пройшла перевірку: {refused.message}"
                raise Problem(422, "callback_refused", words) from refused
        elif body.fields is not None:
            if business.hook is None:
                raise Refused("webhook_not_set", NO_CALLBACK)
            changed = business.hook.model_copy(update={"fields": body.fields})
            business.app.hooks[business.account.object] = changed
            meta.changed()
        if body.human_agent is not None:
            business.human_agent = body.human_agent
        if body.permissions is not None:
            business.permissions = body.permissions
        if body.details is not None:
            business.details = body.details or None
        if body.expire_attachments:
            lines.cdn.forget(business)
        _change_tokens(meta, business, body)
        if body.unsubscribe:
            for other in meta.of_holder(business.account.holder_id):
                lines.delivery(other).unsubscribe("the app was unsubscribed")
        return web.json_response(_state(meta, business))

    def _found(self, request: web.Request) -> tuple[MetaLines, Business]:
        name = request.match_info["account"]
        for lines in self._lines:
            business = lines.meta.business_of(name, lines.kind)
            if business is not None:
                return lines, business
        raise Problem(
            404,
            "account_not_found",
            "Такої сторінки чи акаунта Instagram немає: перевірте id у налаштуваннях.",
        )


def _change_tokens(meta: Meta, business: Business, body: Dashboard) -> None:
    now = meta.clock()
    for token in meta.tokens.values():
        if token.holder_id != business.account.holder_id:
            continue
        if body.token is not None:
            token.state = body.token
        if body.token_expires_in is not None:
            token.expires_at = now + body.token_expires_in
        if body.token_age is not None:
            token.issued_at = now - body.token_age


def _state(meta: Meta, business: Business) -> Json:
    fields = meta.fields_of(business)
    tokens = [t for t in meta.tokens.values() if t.holder_id == business.account.holder_id]
    return {
        "account_id": business.account.id,
        "kind": business.kind,
        "channel_id": business.address,
        "callback": None if business.hook is None else business.hook.url,
        "subscribed_fields": None if fields is None else list(fields),
        "human_agent": business.human_agent,
        "token": tokens[-1].state if tokens else None,
    }


def _receipt(chat: Chat, number: int | None) -> Json:
    return {"provider_id": None, "chat_id": chat.id, "update_id": number}
