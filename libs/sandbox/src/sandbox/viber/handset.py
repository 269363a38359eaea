"""The phone's side of a message: it draws the keyboard, fetches the media, and reports what became of it.

Viber's API takes much that a phone cannot show; that comes back later as `failed`. Here the phone fetches
`media` over HTTP from the address the bot gave, as real phones do.
Source: the fact sheet, «send_message» (endings, sizes) and Viber's FAQ (validation on the phone).
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import aiohttp
from PIL import Image

from sandbox.darkroom import Darkroom
from sandbox.files import Files, StoredFile
from sandbox.ledger import Ledger
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived
from sandbox.viber import payloads
from sandbox.viber.checks import MAX_FILE_BYTES, MAX_VIDEO_BYTES, check_message
from sandbox.viber.delivery import ViberDelivery
from sandbox.viber.state import Bot, Chat, Failure, Json, PhoneMessage, Viber
from sandbox.viber.statuses import BAD_DATA, ApiRefusal

MAX_PICTURE_BYTES = {"iOS": 1024 * 1024, "Android": 3 * 1024 * 1024}
PICTURE_ENDINGS = (".jpeg", ".png", ".gif")
VIDEO_ENDINGS = (".mp4",)
FORBIDDEN_ENDINGS = (".exe", ".apk", ".bat", ".cmd", ".msi", ".jar", ".js", ".vbs", ".scr")
"""Some of those Viber does not take as a file."""
MAX_KEYBOARD_ROWS = 12
"""Rows a phone shows upright. Source: Viber's FAQ."""
FETCH_TIMEOUT_SECONDS = 30.0
_COLUMNS = 6
_CHUNK_BYTES = 256 * 1024
KINDS = {"picture": "photo", "video": "video", "file": "document"}
"""Viber's types with media, and what a phone calls them."""


class NotShown(Exception):
    """The phone cannot show the message; the text says why."""


class Handsets:
    """The phones of everybody, as far as they receive."""

    def __init__(
        self,
        viber: Viber,
        files: Files,
        darkroom: Darkroom,
        http: aiohttp.ClientSession,
        ledger: Ledger,
        delivery: Callable[[Bot], ViberDelivery],
    ) -> None:
        self._viber = viber
        self._files = files
        self._darkroom = darkroom
        self._http = http
        self._ledger = ledger
        self._delivery = delivery
        self._waiting: asyncio.Queue[tuple[Bot, Chat, PhoneMessage]] = asyncio.Queue()

    async def run(self) -> None:
        """Fetch media for ever, each message by itself."""
        async with asyncio.TaskGroup() as fetches:
            while True:
                fetches.create_task(self._fetch(*await self._waiting.get()))

    def receive(
        self,
        bot: Bot,
        chat: Chat,
        token: int,
        call: Json,
        *,
        is_welcome: bool = False,
        fails: bool = False,
        desc: str | None = None,
    ) -> PhoneMessage:
        """A message the API took. What needs no fetching is on the phone when this returns.

        Args:
            call: the call of `send_message`, checked.
            fails: the phone shall not be able to show it, with this `desc` in the callback.
        """
        kind = str(call.get("type", "keyboard"))
        words = call.get("text") if kind != "rich_media" else call.get("alt_text")
        keyboard = call.get("keyboard")
        message = PhoneMessage(
            token=token,
            from_client=False,
            kind=KINDS.get(kind, kind),
            text=words if isinstance(words, str) else "",
            content={key: value for key, value in call.items() if key not in ("auth_token", "receiver")},
            at=self._viber.clock(),
            keyboard=keyboard if isinstance(keyboard, dict) else None,
            shown=False,
            is_welcome=is_welcome,
        )
        chat.messages.append(message)
        try:
            _check_script(fails, desc)
            _check_drawable(message.keyboard)
            if kind in KINDS:
                _check_ending(kind, message.content)
                self._waiting.put_nowait((bot, chat, message))
            else:
                self._show(bot, chat, message, None)
        except NotShown as reason:
            self._fail(bot, chat, message, str(reason), desc)
        return message

    def welcome(self, bot: Bot, chat: Chat, body: bytes) -> None:
        """The answer to `conversation_started`: a message without a receiver, or nothing.

        No callback tells of a welcome later: the fact sheet knows of none.
        """
        if not body.strip():
            return
        try:
            call = _welcome(body)
        except ApiRefusal as refused:
            reason = refused.message
        else:
            token = self._viber.tokens.take()
            message = self.receive(bot, chat, token, call, is_welcome=True)
            self._log(bot, chat, token, message, "welcome", None)
            return
        chat.failures.append(Failure(0, f"вітання не показано: {reason}", self._viber.clock()))
        chat.changed()
        self._log(bot, chat, 0, None, "welcome", reason)

    def _show(self, bot: Bot, chat: Chat, message: PhoneMessage, file: StoredFile | None) -> None:
        message.file, message.shown, message.state = file, True, "delivered"
        # The last message decides: one without a keyboard takes the old one away.
        chat.keyboard = message.keyboard
        tracking = message.content.get("tracking_data")
        chat.tracking_data = tracking if isinstance(tracking, str) and tracking else None
        chat.changed()
        if not message.is_welcome:
            for _ in range(chat.devices):
                callback = payloads.about_message("delivered", self._now(), message.token, chat.user_id)
                self._delivery(bot).tell(chat, callback, about=message)

    def _fail(
        self, bot: Bot, chat: Chat, message: PhoneMessage, reason: str, desc: str | None = None
    ) -> None:
        message.state = "failed"
        chat.failures.append(Failure(message.token, reason, self._viber.clock()))
        chat.changed()
        self._log(bot, chat, message.token, message, "phone", reason)
        if not message.is_welcome:
            callback = payloads.failed(self._now(), message.token, chat.user_id, desc)
            self._delivery(bot).tell(chat, callback, about=message)

    async def _fetch(self, bot: Bot, chat: Chat, message: PhoneMessage) -> None:
        place = self._files.draft()
        kind = str(message.content["type"])
        try:
            size_bytes, mime = await self._load(str(message.content["media"]), _limit(kind, chat), place)
            if kind == "picture":
                mime = await asyncio.to_thread(_picture_type, place)
            else:
                _check_size(message.content, size_bytes)
            if kind == "video":
                _check_film(place)
            name = str(message.content.get("file_name") or "") or None
            seconds = message.content.get("duration")
            order = FileOrder(
                name=name,
                mime=mime if kind == "picture" else None,
                duration=float(seconds) if isinstance(seconds, int) and seconds > 0 else None,
            )
            arrived = Arrived(place, name, "video/mp4" if kind == "video" else mime, size_bytes)
            file = await self._darkroom.picked(
                bot.account.number, KINDS[kind], order, arrived, chat.user.client
            )
        except NotShown as reason:
            self._fail(bot, chat, message, str(reason))
        else:
            self._show(bot, chat, message, file)
        finally:
            place.unlink(missing_ok=True)

    async def _load(self, url: str, limit_bytes: int, place: Path) -> tuple[int, str]:
        """Size in bytes and type of what stands behind an address."""
        size = 0
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        try:
            async with self._http.get(
                url, timeout=timeout, max_redirects=3, headers={"Accept-Encoding": "identity"}
            ) as answer:
                if answer.status != 200:
                    raise NotShown(f"адреса media відповіла {answer.status}")
                with place.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > limit_bytes:
                            raise NotShown(f"файл за адресою media довший за {limit_bytes} байтів")
                        file.write(chunk)
                mime = answer.content_type
        except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as exc:
            raise NotShown(f"адреса media недоступна для телефона: {type(exc).__name__}") from exc
        if size == 0:
            raise NotShown("за адресою media порожній файл")
        return size, mime

    def _log(
        self, bot: Bot, chat: Chat, token: int, message: PhoneMessage | None, method: str, error: str | None
    ) -> None:
        self._ledger.api(
            channel_id=bot.channel_id,
            client=chat.user.client,
            chat_id=chat.user_id,
            message_id=str(token) if token else None,
            text=None if message is None else message.text,
            kind=None if message is None else message.kind,
            method=method,
            status=None,
            error=error,
            accepted=error is None,
            fault=None,
        )

    def _now(self) -> int:
        return int(self._viber.clock() * 1000)


def _welcome(body: bytes) -> Json:
    """The message in an answer to `conversation_started`.

    Raises:
        ApiRefusal: Viber would not take it.
    """
    try:
        call = json.loads(body)
    except ValueError as exc:
        raise ApiRefusal(BAD_DATA, "the answer is no JSON") from exc
    if not isinstance(call, dict):
        raise ApiRefusal(BAD_DATA, "the answer is no JSON object")
    check_message(call, size_bytes=len(body), with_receiver=False)
    return call


def _check_script(fails: bool, desc: str | None) -> None:
    if fails:
        raise NotShown(desc or "телефон не зміг показати повідомлення (так велів сценарій)")


def _check_film(place: Path) -> None:
    with place.open("rb") as film:
        if film.read(12)[4:8] != b"ftyp":
            raise NotShown("за адресою media не відео MP4")


def _check_drawable(keyboard: Json | None) -> None:
    """What the schema of the API lets through and a phone cannot draw."""
    if keyboard is None:
        return
    buttons = keyboard["Buttons"]
    assert isinstance(buttons, list)
    rows = used = height = 0
    for button in buttons:
        columns = int(button.get("Columns", _COLUMNS))
        if used + columns > _COLUMNS:
            rows, used, height = rows + height, 0, 0
        used += columns
        height = max(height, int(button.get("Rows", 1)))
        action, body = button.get("ActionType", "reply"), str(button["ActionBody"])
        if action == "open-url" and urlsplit(body).scheme not in ("http", "https", "tel", "mailto", "viber"):
            raise NotShown("кнопка open-url без адреси в ActionBody")
        if not body and action != "none":
            raise NotShown("кнопка з порожнім ActionBody")
    if rows + height > MAX_KEYBOARD_ROWS:
        raise NotShown(f"клавіатура вища за {MAX_KEYBOARD_ROWS} рядів")


def _check_ending(kind: str, call: Json) -> None:
    path = urlsplit(str(call["media"])).path.lower()
    if kind == "picture" and not path.endswith(PICTURE_ENDINGS):
        raise NotShown("адреса фото має закінчуватися на .jpeg, .png або .gif")
    if kind == "video" and not path.endswith(VIDEO_ENDINGS):
        raise NotShown("адреса відео має закінчуватися на .mp4")
    if kind == "file" and PurePosixPath(str(call["file_name"]).lower()).suffix in FORBIDDEN_ENDINGS:
        raise NotShown("файли з таким закінченням Viber не приймає")


def _check_size(call: Json, size_bytes: int) -> None:
    if call.get("size") != size_bytes:
        raise NotShown(f"size каже {call.get('size')}, а файл має {size_bytes} байтів")


def _limit(kind: str, chat: Chat) -> int:
    return {
        "picture": MAX_PICTURE_BYTES[chat.device_os],
        "video": MAX_VIDEO_BYTES,
        "file": MAX_FILE_BYTES,
    }[kind]


def _picture_type(place: Path) -> str:
    """The type of a picture by its bytes; a moving GIF is none."""
    try:
        with Image.open(place) as image:
            form = image.format
            if form not in ("JPEG", "PNG", "GIF") or getattr(image, "n_frames", 1) > 1:
                raise NotShown("за адресою media не JPEG, PNG чи нерухомий GIF")
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as exc:
        raise NotShown("за адресою media не картинка") from exc
    return f"image/{form.lower()}"
