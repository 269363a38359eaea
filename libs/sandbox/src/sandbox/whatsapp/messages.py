"""`POST /{phone_number_id}/messages`: texts, files, places, cards, reactions, buttons, templates, read marks.

200 means accepted only; what became of a message is told by its statuses. Source: the fact sheet, 2.3.
"""

from sandbox.files import StoredFile
from sandbox.whatsapp.calls import Call, Called, required, required_text
from sandbox.whatsapp.checks import MEDIA, buttons_of, check_media_object, check_message, words_of
from sandbox.whatsapp.codes import (
    BAD_PARAMETER,
    BAD_VALUE,
    MEDIA_FAILED,
    NEEDS_PHONE,
    TO_MYSELF,
    GraphRefusal,
    refusal,
)
from sandbox.whatsapp.handset import Handsets, Sending
from sandbox.whatsapp.identity import digits_of, is_user_id
from sandbox.whatsapp.limits import Limits
from sandbox.whatsapp.media import LIMITS
from sandbox.whatsapp.state import TYPING_SECONDS, Button, Chat, Json, Number, PhoneMessage, WhatsApp
from sandbox.whatsapp.templates import Filled, filled

KINDS = {
    "image": "photo",
    "video": "video",
    "audio": "audio",
    "document": "document",
    "sticker": "sticker",
    "contacts": "contact",
    "location": "location",
}
"""What a phone calls a type; texts, buttons and templates are texts."""


class Messages:
    """Takes messages of businesses."""

    def __init__(self, whatsapp: WhatsApp, handsets: Handsets, limits: dict[str, Limits]) -> None:
        self._whatsapp = whatsapp
        self._handsets = handsets
        self._limits = limits

    def post(self, number: Number, call: Call) -> Called:
        """One message, or a mark of reading.

        Raises:
            GraphRefusal: it is not taken.
        """
        body = call.body
        if required(body, "messaging_product") != "whatsapp":
            raise GraphRefusal(BAD_PARAMETER, "messaging_product must be whatsapp")
        if body.get("status") is not None:
            return self._mark_read(number, body)
        kind = check_message(body)
        chat, recipient, lost = self._recipient(number, body)
        content = body[kind]
        template = filled(number.waba.templates, content) if kind == "template" else None  # type: ignore[arg-type]
        if template is not None and template.template.category == "AUTHENTICATION" and body.get("to") is None:
            raise refusal(NEEDS_PHONE)
        file, link, media_type = self._file(number, kind, body, template)
        self._limits[number.account.phone_number_id].take(_person(chat, recipient))
        message = self._message(number, kind, body, template, recipient)
        message.file = file
        answer = _accepted(body, chat, message)
        if lost:
            return Called(answer, number, None, message)
        fault = call.fault
        if fault is not None and fault.kind == "statuses":
            message.statuses = fault.statuses
        sending = Sending(number, message, chat, recipient, link, media_type)
        if fault is not None and fault.kind == "fails_later":
            sending.fails_with = fault.code
        if kind == "reaction" and chat is not None:
            _react(chat, content)
        self._handsets.receive(sending)
        return Called(answer, number, chat, message)

    def _recipient(self, number: Number, body: Json) -> tuple[Chat | None, Json, bool]:
        """Who shall get it, how a refusal names him, and whether it is lost on the way without a word."""
        if body.get("to") is not None:  # the phone wins
            to = required_text(body, "to")
            if is_user_id(to):
                return None, {}, True
            digits = digits_of(to)
            if not digits:
                raise GraphRefusal(BAD_PARAMETER, message="(#100) The parameter to is required.")
            if digits == number.account.digits:
                raise refusal(TO_MYSELF)
            chat = self._whatsapp.find(number, digits)
            return chat, {"recipient_id": digits}, False
        if body.get("recipient") is None:
            raise GraphRefusal(BAD_PARAMETER, message="(#100) The parameter to is required.")
        user_id = required_text(body, "recipient")
        if not is_user_id(user_id):
            raise GraphRefusal(BAD_VALUE, "recipient must be a business-scoped user id")
        chat = self._whatsapp.find(number, user_id)
        return chat, {"recipient_user_id": user_id}, False

    def _message(
        self, number: Number, kind: str, body: Json, template: Filled | None, recipient: Json
    ) -> PhoneMessage:
        content = body[kind]
        message = PhoneMessage(
            id=self._whatsapp.message_id(str(recipient.get("recipient_id", number.account.digits))),
            from_client=False,
            kind=KINDS.get(kind, "text"),
            text="",
            content=content if isinstance(content, dict) else {"contacts": content},
            at=self._whatsapp.clock(),
            type=kind,
            opaque=body.get("biz_opaque_callback_data"),  # type: ignore[arg-type]
            to_user_id=body.get("to") is None,
        )
        context = body.get("context")
        if isinstance(context, dict):
            message.reply_to = context["message_id"]
        if template is not None:
            _write_template(message, template)
        elif kind == "interactive":
            message.say(words_of(message.content))
            message.buttons = buttons_of(message.content)
        elif kind == "reaction":
            message.shown = False
        elif kind == "text":
            message.text = str(message.content["body"])
        else:
            message.text = str(message.content.get("caption") or "")
        if kind == "audio" and message.content.get("voice") is True:
            message.kind = "voice"
        return message

    def _file(
        self, number: Number, kind: str, body: Json, template: Filled | None
    ) -> tuple[StoredFile | None, str | None, str | None]:
        """The file of a message: kept here, or behind a link; and as what it is sent."""
        found: Json | None = None
        if kind in MEDIA:
            found = body[kind]  # type: ignore[assignment]
        elif template is not None and template.header is not None:
            kind = str(template.header["type"])
            found = template.header[kind]  # type: ignore[assignment]
        elif kind == "interactive":
            header = body["interactive"].get("header")  # type: ignore[attr-defined]
            kind = str(header.get("type", "text")) if isinstance(header, dict) else "text"
            found = header.get(kind) if kind in MEDIA else None
        if not isinstance(found, dict):
            return None, None, None
        check_media_object(kind, found)
        link = found.get("link")
        if isinstance(link, str):
            return None, link, kind
        return self._kept(number, kind, str(found["id"])), None, kind

    def _kept(self, number: Number, kind: str, media_id: str) -> StoredFile:
        media = self._whatsapp.media.get(media_id)
        own = number.account.phone_number_id
        if media is None or media.phone_number_id != own or media.expires_at <= self._whatsapp.clock():
            raise GraphRefusal(
                BAD_PARAMETER,
                message=f"(#100) Param {kind}['id'] is not a valid whatsapp business account media "
                "attachment ID",
            )
        types = LIMITS[kind][0]
        mime = media.mime.partition(";")[0]
        if types and mime not in types:
            raise GraphRefusal(MEDIA_FAILED, f"{kind}: {mime} is not supported")
        return media.file

    def _mark_read(self, number: Number, body: Json) -> Called:
        """The business has read up to a message; with an indicator the client sees «друкує…» too."""
        message_id = required_text(body, "message_id")
        if body["status"] != "read":
            raise GraphRefusal(BAD_VALUE, "status must be read")
        for chat in number.chats.values():
            marked = chat.message(message_id)
            if marked is None or not marked.from_client:
                continue
            for message in chat.messages:
                if message.from_client:
                    message.rise("read")
                if message is marked:
                    break
            if isinstance(body.get("typing_indicator"), dict):
                chat.typing_until = self._whatsapp.clock() + TYPING_SECONDS
            chat.changed()
            return Called({"success": True}, number, chat)
        raise GraphRefusal(BAD_VALUE, f"message_id {message_id} is not a message of this number")


def _accepted(body: Json, chat: Chat | None, message: PhoneMessage) -> Json:
    given = body.get("to") if body.get("to") is not None else body.get("recipient")
    contact: Json = {"input": given}
    if chat is None:
        contact["user_id" if is_user_id(str(given)) else "wa_id"] = (
            given if is_user_id(str(given)) else digits_of(str(given))
        )
    else:
        if not message.to_user_id or chat.identity.shows_phone:
            contact["wa_id"] = chat.identity.wa_id
        if chat.identity.variant != "phone_only":
            contact["user_id"] = chat.identity.user_id
    return {
        "messaging_product": "whatsapp",
        "contacts": [contact],
        "messages": [{"id": message.id, "message_status": "accepted"}],
    }


def _person(chat: Chat | None, recipient: Json) -> str:
    return chat.user.client if chat is not None else str(recipient)


def _react(chat: Chat, content: object) -> None:
    assert isinstance(content, dict)
    target = chat.message(content["message_id"])
    if target is None:
        return
    if content["emoji"]:
        target.reactions["business"] = content["emoji"]
    else:
        target.reactions.pop("business", None)
    chat.changed()


def _write_template(message: PhoneMessage, template: Filled) -> None:
    message.say(template.words)
    message.category = template.template.category.lower()
    if template.header is not None:
        message.kind = KINDS[str(template.header["type"])]
    message.buttons = tuple(
        Button(
            str(button["id"]),
            str(button["title"]),
            str(button["kind"]),
            url=str(button["url"]) if "url" in button else None,
        )
        for button in template.buttons
    )
