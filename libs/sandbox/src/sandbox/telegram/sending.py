"""What a bot shows on a phone: texts, files, albums, places, contacts, and their edits.

Source: open Bot API server and TDLib (order of the checks, error texts), the fact sheet (limits).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.darkroom import FILM, BadPicture, Darkroom
from sandbox.files import Files, Looks, StoredFile, guess_mime, shelf_title
from sandbox.telegram import media, payloads
from sandbox.telegram.clients import message_json
from sandbox.telegram.keyboards import inline_only, keyboard
from sandbox.telegram.params import ApiError, Method, Outcome, Params
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot, Chat, PhoneMessage, Telegram
from sandbox.telegram.web_files import WebFiles
from sandbox.uploads import Arrived

MAX_TEXT_UNITS = 4096
"""UTF-16 code units, after trimming. Source: Bot API, sendMessage."""
MAX_CAPTION_UNITS = 1024
"""UTF-16 code units. Source: Bot API, sendPhoto."""
MAX_PHOTO_BYTES = 10 * 1024 * 1024
"""Source: Bot API, sendPhoto; in the words of TDLib's check."""
MAX_ALBUM = 10
"""Source: Bot API, sendMediaGroup."""
MAX_DURATION_SECONDS = 86_400
MAX_FILM_PIXELS = 10_000
"""Longest side a bot can tell of a film. Source: open Bot API server."""
DELETE_WITHIN_SECONDS = 48 * 3600
"""Source: Bot API, deleteMessage."""
_ALONE = ("document", "audio")
"""Kinds that make albums only among themselves."""
_ALBUM_KINDS = ("photo", "video", *_ALONE)
_NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a bot says of the file it sends."""

    duration: int = 0
    width: int = 0
    height: int = 0
    title: str = ""
    performer: str = ""


class Sending:
    """The methods that put bubbles on phones, change them and take them away."""

    def __init__(self, telegram: Telegram, files: Files, darkroom: Darkroom, web_files: WebFiles) -> None:
        self._telegram = telegram
        self._files = files
        self._darkroom = darkroom
        self._web_files = web_files

    def methods(self) -> dict[str, Method]:
        """By the name of the method, in small letters."""
        sends: dict[str, Method] = {f"send{kind.replace('_', '')}": self._sender(kind) for kind in (
            "photo", "video", "video_note", "animation", "voice", "audio", "document", "sticker",
        )}  # fmt: skip
        return {
            **sends,
            "sendmessage": self.send_message,
            "sendmediagroup": self.send_media_group,
            "sendlocation": self.send_location,
            "sendcontact": self.send_contact,
            "editmessagetext": self.edit_message_text,
            "editmessagecaption": self.edit_message_caption,
            "editmessagereplymarkup": self.edit_message_reply_markup,
            "deletemessage": self.delete_message,
        }

    def send_message(self, bot: Bot, params: Params) -> Outcome:
        """Show a text on the client's phone."""
        chat = writable_chat(bot, params)
        content = _text_content(params)
        return self._one(bot, chat, "text", content, params)

    def send_location(self, bot: Bot, params: Params) -> Outcome:
        """Show a place."""
        chat = writable_chat(bot, params)
        latitude, longitude = (_coordinate(params, name) for name in ("latitude", "longitude"))
        if abs(latitude) > 90 or abs(longitude) > 180:
            raise ApiError(400, "Bad Request: wrong location specified")
        return self._one(bot, chat, "location", payloads.location(latitude, longitude), params)

    def send_contact(self, bot: Bot, params: Params) -> Outcome:
        """Show a contact card."""
        chat = writable_chat(bot, params)
        content = payloads.contact(
            params.required("phone_number"),
            params.required("first_name"),
            None,
            params.text("last_name") or None,
        )
        return self._one(bot, chat, "contact", content, params)

    async def send_media_group(self, bot: Bot, params: Params) -> Outcome:
        """Show an album: all of it or nothing."""
        chat = writable_chat(bot, params)
        params.required("media")
        items = params.nested("media", "media")
        if not isinstance(items, list):
            raise ApiError(400, "Bad Request: expected an Array of InputMedia")
        if not items:
            raise ApiError(400, "Bad Request: there are no messages to send")
        captions = [_album_item(item) for item in items]
        kinds = [str(item["type"]) for item in items]
        if len(items) > MAX_ALBUM:
            raise ApiError(400, "Bad Request: too many messages to send as an album")
        for alone in _ALONE:
            if alone in kinds and set(kinds) != {alone}:
                raise ApiError(400, f"Bad Request: {alone} can't be mixed with other media types")
        reply_to = _reply_to(chat, params)
        files: list[StoredFile] = []
        for number, item in enumerate(items, 1):
            arguments = Params(item)
            told = _told(arguments)
            try:
                files.append(await self._input(bot, chat, kinds[number - 1], item["media"], params, told))
            except BadPicture as bad:
                text = f'failed to send message #{number} with the error message "{bad}"'
                raise ApiError(400, f"Bad Request: {text}") from bad
        group = str(secrets.randbits(62) | 1 << 61)
        messages = []
        for file, caption in zip(files, captions, strict=True):
            content = {**media.content(file), **payloads.caption(caption)}
            if len(files) > 1:  # a single one is sent as no album
                content = {"media_group_id": group, **content}
            messages.append(self._show(bot, chat, file.kind, content, None, reply_to, file))
        result = [message_json(bot, chat, message) for message in messages]
        return Outcome(result, chat=chat, messages=messages)

    def edit_message_text(self, bot: Bot, params: Params) -> Outcome:
        """Change a text the bot sent."""
        chat, message = self._own(bot, params)
        if message.kind != "text":
            raise ApiError(400, "Bad Request: there is no text in the message to edit")
        return self._edited(bot, chat, message, _text_content(params), inline_only(params))

    def edit_message_caption(self, bot: Bot, params: Params) -> Outcome:
        """Change the caption of a file the bot sent."""
        chat, message = self._own(bot, params)
        if message.file is None or message.kind in ("sticker", "video_note"):
            raise ApiError(400, "Bad Request: there is no caption in the message to edit")
        kept = {k: v for k, v in message.content.items() if k not in ("caption", "caption_entities")}
        content = {**kept, **payloads.caption(_caption(params.text("caption"), params.text("parse_mode")))}
        return self._edited(bot, chat, message, content, inline_only(params))

    def edit_message_reply_markup(self, bot: Bot, params: Params) -> Outcome:
        """Change or take away the inline keyboard of a message."""
        chat, message = self._own(bot, params)
        return self._edited(bot, chat, message, message.content, inline_only(params))

    def delete_message(self, bot: Bot, params: Params) -> Outcome:
        """Take a message off the phone."""
        chat, message = _message(bot, params, "delete")
        if message.at + DELETE_WITHIN_SECONDS < self._telegram.clock():
            raise ApiError(400, "Bad Request: message can't be deleted for everyone")
        chat.messages.remove(message)
        chat.changed()
        return Outcome(True, chat=chat, messages=[message])

    # --- one file

    def _sender(self, kind: str) -> Method:
        async def send(bot: Bot, params: Params) -> Outcome:
            chat = writable_chat(bot, params)
            caption = ""
            if kind not in ("sticker", "video_note"):
                caption = _caption(params.text("caption"), params.text("parse_mode"))
            keys, reply_to = keyboard(params), _reply_to(chat, params)
            given = params.text(kind) or (f"attach://{kind}" if params.file(kind) is not None else "")
            if not given:
                raise ApiError(400, f"Bad Request: there is no {kind.replace('_', ' ')} in the request")
            try:
                file = await self._input(bot, chat, kind, given, params, _told(params))
            except BadPicture as bad:
                raise ApiError(400, f"Bad Request: {bad}") from bad
            content = {**media.content(file), **payloads.caption(caption)}
            message = self._show(bot, chat, file.kind, content, keys, reply_to, file)
            return Outcome(message_json(bot, chat, message), chat=chat, messages=[message])

        return send

    async def _input(
        self, bot: Bot, chat: Chat, kind: str, given: str, params: Params, told: _Told
    ) -> StoredFile:
        """A file in one of Telegram's three ways: uploaded, by its id, by its address."""
        if given.startswith("attach://"):
            arrived = params.file(given.removeprefix("attach://"))
            if arrived is None:
                raise ApiError(400, "Bad Request: can't parse InputMedia: media not found")
            return await self._develop(bot, chat, kind, arrived, told)
        if "." in given:
            async with self._web_files.fetched(given, kind) as arrived:
                return await self._develop(bot, chat, kind, arrived, told)
        file = self._files.by_id(bot.account.id, given)
        if file is None:
            raise ApiError(400, "Bad Request: wrong remote file identifier specified: can't unserialize it")
        if file.kind != kind:
            text = f"can't use file of type {file.title} as {shelf_title(kind)}"
            raise ApiError(400, f"Bad Request: {text}")
        return file

    async def _develop(self, bot: Bot, chat: Chat, kind: str, arrived: Arrived, told: _Told) -> StoredFile:
        if arrived.size == 0:
            raise ApiError(400, "Bad Request: file must be non-empty")
        if kind == "photo" and arrived.size > MAX_PHOTO_BYTES:
            text = f"file of size {arrived.size} bytes is too big for a photo; the maximum size is"
            raise ApiError(400, f"Bad Request: {text} {MAX_PHOTO_BYTES} bytes")
        looks = Looks(
            _MIME_OF.get(kind, guess_mime)(arrived.name),
            width=told.width,
            height=told.height,
            duration=told.duration,
            title=told.title or None,
            performer=told.performer or None,
        )
        return await self._darkroom.received(bot.account.id, kind, arrived, looks, chat.user.client)

    # --- shared by the methods

    def _one(self, bot: Bot, chat: Chat, kind: str, content: Json, params: Params) -> Outcome:
        message = self._show(bot, chat, kind, content, keyboard(params), _reply_to(chat, params), None)
        return Outcome(message_json(bot, chat, message), chat=chat, messages=[message])

    def _show(
        self,
        bot: Bot,
        chat: Chat,
        kind: str,
        content: Json,
        keys: Json | None,
        reply_to: int | None,
        file: StoredFile | None,
    ) -> PhoneMessage:
        """Put a bubble on the phone; from here on the message is sent."""
        message = PhoneMessage(
            message_id=bot.message_ids.take(),
            from_client=False,
            kind=kind,
            content=content,
            at=self._telegram.clock(),
            keyboard=keys if keys is not None and keys.get("inline_keyboard") else None,
            reply_to=reply_to,
            file=file,
        )
        chat.messages.append(message)
        if keys is not None and "keyboard" in keys:
            chat.keyboard, chat.keyboard_message_id = keys, message.message_id
        elif keys is not None and keys.get("remove_keyboard") is True:
            chat.keyboard = chat.keyboard_message_id = None
        chat.typing_until = 0.0
        chat.changed()
        return message

    def _own(self, bot: Bot, params: Params) -> tuple[Chat, PhoneMessage]:
        chat, message = _message(bot, params, "edit")
        if message.from_client:
            raise ApiError(400, "Bad Request: message can't be edited")
        return chat, message

    def _edited(
        self, bot: Bot, chat: Chat, message: PhoneMessage, content: Json, keys: Json | None
    ) -> Outcome:
        if content == message.content and keys == message.keyboard:
            raise ApiError(400, _NOT_MODIFIED)
        message.content, message.keyboard, message.edited_at = content, keys, self._telegram.clock()
        chat.changed()
        return Outcome(message_json(bot, chat, message), chat=chat, messages=[message])


def known_chat(bot: Bot, params: Params) -> Chat:
    """The dialogue a call is about.

    Raises:
        ApiError: the bot knows nobody of this id.
    """
    chat_id = params.text("chat_id").strip()
    if not chat_id:
        raise ApiError(400, "Bad Request: chat_id is empty")
    number = chat_id.removeprefix("-")
    chat = bot.chats.get(int(chat_id)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    if chat is None or not chat.started:
        raise ApiError(400, "Bad Request: chat not found")
    return chat


def writable_chat(bot: Bot, params: Params) -> Chat:
    """The dialogue a call writes into.

    Raises:
        ApiError: there is none, or the client blocked the bot.
    """
    chat = known_chat(bot, params)
    if chat.blocked:
        raise ApiError(403, "Forbidden: bot was blocked by the user")
    return chat


def _message(bot: Bot, params: Params, what: str) -> tuple[Chat, PhoneMessage]:
    chat = known_chat(bot, params)
    message = chat.message(params.integer("message_id", 0, 0, 1 << 53))
    if message is None:
        raise ApiError(400, f"Bad Request: message to {what} not found")
    return chat, message


def _text_content(params: Params) -> Json:
    if params.text("parse_mode"):
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    text = params.text("text").strip()
    if not text:
        raise ApiError(400, "Bad Request: message text is empty")
    if payloads.utf16_units(text) > MAX_TEXT_UNITS:
        raise ApiError(400, "Bad Request: message is too long")
    return payloads.text(text)


def _caption(given: object, parse_mode: object) -> str:
    if parse_mode:
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    caption = given.strip() if isinstance(given, str) else ""
    if payloads.utf16_units(caption) > MAX_CAPTION_UNITS:
        raise ApiError(400, "Bad Request: message caption is too long")
    return caption


def _album_item(item: object) -> str:
    """Check one `InputMedia`; returns its caption."""
    wrong = "Bad Request: can't parse InputMedia: "
    if not isinstance(item, dict):
        raise ApiError(400, f"{wrong}expected an Object")
    kind = item.get("type")
    if not isinstance(item.get("media"), str) or not item["media"]:
        raise ApiError(400, f"{wrong}media not found")
    if kind == "animation":
        raise ApiError(400, f'{wrong}type "animation" can\'t be used in sendMediaGroup')
    if kind not in _ALBUM_KINDS:
        raise ApiError(400, f'{wrong}type "{kind}" is unsupported')
    return _caption(item.get("caption"), item.get("parse_mode"))


def _told(params: Params) -> _Told:
    length = params.integer("length", 0, 0, 640)
    return _Told(
        params.integer("duration", 0, 0, MAX_DURATION_SECONDS),
        params.integer("width", length, 0, MAX_FILM_PIXELS),
        params.integer("height", length, 0, MAX_FILM_PIXELS),
        params.text("title"),
        params.text("performer"),
    )


def _coordinate(params: Params, name: str) -> float:
    given = params.text(name).strip()
    if not given:
        raise ApiError(400, f"Bad Request: {name} is empty")
    try:
        return float(given)
    except ValueError as exc:
        raise ApiError(400, "Bad Request: wrong location specified") from exc


def _reply_to(chat: Chat, params: Params) -> int | None:
    given = params.nested("reply_parameters", "reply parameters")
    if not isinstance(given, dict):
        return None
    message_id = given.get("message_id")
    if isinstance(message_id, int) and chat.message(message_id) is not None:
        return message_id
    if given.get("allow_sending_without_reply") is True:
        return None
    raise ApiError(400, "Bad Request: message to be replied not found")


def _mime_within(group: str, default: str) -> Callable[[str | None], str]:
    """The type a name tells if it is of this group; as TDLib types what is uploaded as a video, an audio."""

    def mime(name: str | None) -> str:
        guessed = guess_mime(name, default)
        return guessed if guessed.startswith(group) else default

    return mime


_MIME_OF = {
    **dict.fromkeys(FILM, _mime_within("video/", "video/mp4")),
    "audio": _mime_within("audio/", "audio/mpeg"),
    "voice": _mime_within("audio/", "audio/ogg"),
    "document": guess_mime,
}
