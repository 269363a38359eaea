"""`POST /{id}/messages`: who may be written to and when, what arrives, and the echoes of it.

Source: the fact sheet, 2.2, 2.6 and 2.8. A call that is taken is on the phone when it is answered; its echo
is on its way even earlier, so it may come before the answer.
"""

import json
from collections.abc import Callable, Sequence

from sandbox.files import StoredFile
from sandbox.meta import payloads
from sandbox.meta.calls import Call, Called, as_object
from sandbox.meta.cdn import Cdn
from sandbox.meta.checks import (
    HUMAN_AGENT,
    WITH_FILE,
    buttons_of,
    check_action,
    check_message,
    check_purpose,
    quick_replies_of,
)
from sandbox.meta.codes import (
    BAD_PARAMETER,
    CANNOT_RECEIVE,
    NO_PERMISSION,
    NO_USER,
    NOT_OWNER,
    PERMISSION,
    UNAVAILABLE,
    GraphRefusal,
    bad_parameter,
    window_closed,
)
from sandbox.meta.delivery import MetaDelivery
from sandbox.meta.limits import Limits
from sandbox.meta.network import Meta
from sandbox.meta.state import (
    HUMAN_WINDOW_SECONDS,
    TYPING_SECONDS,
    WINDOW_SECONDS,
    Business,
    Chat,
    Json,
    PhoneMessage,
    Piece,
)

_PHONE_KINDS = {"image": "photo", "video": "video", "audio": "audio", "file": "document"}


class Sending:
    """Takes what businesses send, and what their staff types in Meta's own inboxes."""

    def __init__(
        self,
        meta: Meta,
        cdn: Cdn,
        limits: dict[str, Limits],
        delivery: Callable[[Business], MetaDelivery],
    ) -> None:
        self._meta = meta
        self._cdn = cdn
        self._limits = limits
        self._delivery = delivery

    def addressee(self, businesses: Sequence[Business], body: Json) -> tuple[Business, Chat] | None:
        """Whom a call is about: a page's clients and its Instagram account's are reached by one address."""
        recipient = body.get("recipient")
        if isinstance(recipient, str):
            try:
                recipient = json.loads(recipient)
            except ValueError:
                return None
        contact_id = recipient.get("id") if isinstance(recipient, dict) else None
        for business in businesses:
            chat = self._meta.find(business, str(contact_id)) if contact_id else None
            if chat is not None:
                return business, chat
        return None

    async def post(self, businesses: Sequence[Business], call: Call) -> Called:
        """One message, or one sender action.

        Raises:
            GraphRefusal: it is not taken.
        """
        body = call.body
        recipient = as_object(body.get("recipient"), "recipient")
        if not isinstance(recipient.get("id"), str) or not recipient["id"]:
            raise bad_parameter("Param recipient must have the id of a person")
        found = self.addressee(businesses, body)
        if found is None:
            raise GraphRefusal(BAD_PARAMETER, NO_USER)
        business, chat = found
        if not business.permissions:
            raise GraphRefusal(NO_PERMISSION)
        if body.get("sender_action") is not None:
            return self._act(business, chat, body)
        message = as_object(body.get("message"), "message")
        check_message(business.kind, message)
        tag = check_purpose(body)
        reply_to = self._reply_to(chat, body)
        violation = self._check_reach(business, chat, tag)
        self._limits[business.account.id].take_send()
        made = await self._made(business, chat, message, call)
        made.reply_to, made.tag = reply_to, tag
        made.app_id = business.app.id
        self.arrive(business, chat, made)
        answer = {"recipient_id": chat.id, "message_id": made.id}
        return Called(answer, business, chat, made, violation)

    def arrive(self, business: Business, chat: Chat, message: PhoneMessage) -> int | None:
        """A message of the business, whoever sent it: an echo, the phone, and a report of delivery."""
        chat.typing_until = 0.0
        message.shown = not chat.offline
        chat.add(message)
        delivery = self._delivery(business)
        element = payloads.from_us(
            business,
            chat,
            message.ms,
            message=payloads.echoed(business, chat, message, lambda file: self._cdn.link(business, file)),
        )
        told_of = delivery.tell(
            self._echo_fields(business),
            element,
            kind="echo",
            chat=chat,
            message_id=message.id,
            text=message.text or None,
        )
        if message.shown:
            self.deliver(business, chat, [message])
        chat.changed()
        return told_of

    def deliver(
        self,
        business: Business,
        chat: Chat,
        messages: Sequence[PhoneMessage],
        *,
        with_ids: bool = True,
        watermark: int | None = None,
    ) -> int | None:
        """The phone has them: of a page's messages it is told, of Instagram's never."""
        for message in messages:
            message.rise("delivered")
        if business.kind == "instagram" or (not messages and watermark is None):
            return None
        told: Json = {"mids": [message.id for message in messages]} if with_ids else {}
        told["watermark"] = max((m.ms for m in messages), default=0) if watermark is None else watermark
        element = payloads.from_client(business, chat, None, delivery=told)
        message_id = messages[-1].id if messages else None
        delivery = self._delivery(business)
        return delivery.tell(
            ("message_deliveries",), element, kind="delivery", chat=chat, message_id=message_id
        )

    def _echo_fields(self, business: Business) -> tuple[str, ...]:
        """Instagram tells echoes in the field of messages; a login has one of its own too."""
        return ("message_echoes",) if business.kind == "facebook" else ("messages", "message_echoes")

    def _reply_to(self, chat: Chat, body: Json) -> str | None:
        given = body.get("reply_to")
        if given is None:
            return None
        mid = as_object(given, "reply_to").get("mid")
        if chat.message(mid) is None:
            raise bad_parameter("Param reply_to[mid] is not a message of this conversation")
        return str(mid)

    def _check_reach(self, business: Business, chat: Chat, tag: str | None) -> str | None:
        """Whether it may be sent to him now; a rule that is broken all the same.

        Raises:
            GraphRefusal: it may not.
        """
        if chat.gone:
            raise GraphRefusal(PERMISSION, CANNOT_RECEIVE)
        if chat.blocked:
            raise GraphRefusal(UNAVAILABLE)
        if self._meta.owner_of(chat) not in (None, business.app.id):
            raise GraphRefusal(PERMISSION, NOT_OWNER)
        if tag is not None and not business.human_agent:
            raise GraphRefusal(PERMISSION)
        now = self._meta.clock()
        limit = WINDOW_SECONDS if tag is None else HUMAN_WINDOW_SECONDS
        if chat.wrote_at is None or now - chat.wrote_at >= limit:
            raise window_closed(business.kind)
        if tag == HUMAN_AGENT and now - chat.wrote_at < WINDOW_SECONDS:
            return "HUMAN_AGENT within 24 hours of the client's message"
        return None

    async def _made(self, business: Business, chat: Chat, message: Json, call: Call) -> PhoneMessage:
        metadata = message.get("metadata")
        made = PhoneMessage(
            id=self._meta.message_id(business),
            from_client=False,
            kind="text",
            text=str(message.get("text") or ""),
            at=0.0,
            metadata=metadata if isinstance(metadata, str) else None,
            quick_replies=quick_replies_of(business.kind, message),
        )
        given = message.get("attachment")
        if given is not None:
            await self._attach(business, chat, made, as_object(given, "message[attachment]"), call)
        made.at = self._meta.clock()
        return made

    async def _attach(
        self, business: Business, chat: Chat, made: PhoneMessage, attachment: Json, call: Call
    ) -> None:
        sort = str(attachment["type"])
        if sort == "like_heart":
            made.kind, made.pieces = "like", (Piece("like_heart", None),)
            return
        payload = as_object(attachment.get("payload"), "message[attachment][payload]")
        if sort == "template":
            made.text, made.buttons = str(payload["text"]), buttons_of(payload)
            shown: Json = {"template_type": "button", "text": payload["text"], "buttons": payload["buttons"]}
            made.pieces = (Piece("template", shown),)
            return
        assert sort in WITH_FILE
        file = await self._file(business, chat, sort, payload, call)
        made.kind, made.pieces = _PHONE_KINDS[sort], (Piece(sort, {}, file),)

    async def _file(self, business: Business, chat: Chat, sort: str, payload: Json, call: Call) -> StoredFile:
        asset_id = payload.get("attachment_id")
        if asset_id is not None:
            return self._cdn.asset(business, asset_id, sort)
        return await self._cdn.taken(business, sort, payload.get("url"), call.upload, chat.user.client)

    def _act(self, business: Business, chat: Chat, body: Json) -> Called:
        action = check_action(body)
        now = self._meta.clock()
        if action in ("react", "unreact"):
            self._react(business, chat, action, as_object(body.get("payload"), "payload"))
        elif action == "mark_seen":
            chat.seen_at = now
            for message in chat.messages:
                if message.from_client:
                    message.rise("read")
        else:
            chat.typing_until = now + TYPING_SECONDS if action == "typing_on" else 0.0
        chat.changed()
        return Called({"recipient_id": chat.id}, business, chat)

    def _react(self, business: Business, chat: Chat, action: str, payload: Json) -> None:
        target = chat.message(payload.get("message_id"))
        if target is None:
            raise bad_parameter("Param payload[message_id] is not a message of this conversation")
        if action == "unreact":
            target.reactions.pop("business", None)
            return
        emoji = payload.get("reaction")
        if not isinstance(emoji, str) or not emoji:
            raise bad_parameter("The parameter payload[reaction] is required.")
        if business.account.page_id is None and emoji != "love":
            raise bad_parameter("Param payload[reaction] must be love")
        target.reactions["business"] = "❤️" if emoji == "love" else emoji
