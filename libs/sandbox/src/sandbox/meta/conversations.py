"""The Conversations API: everything that was said, whether or not a webhook told it, newest first, in pages.

Two calls a second; conversations in the folder of requests are left out after thirty days without a word.
Source: the fact sheet, 1.1 and 2.7; the shapes of attachments are those that programs which read them expect.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from sandbox.files import StoredFile
from sandbox.meta.calls import Call, Called, Field, chosen, fields_of
from sandbox.meta.cdn import Cdn, name_of
from sandbox.meta.codes import bad_parameter
from sandbox.meta.limits import Limits
from sandbox.meta.network import Meta
from sandbox.meta.state import DAY, Business, Chat, Json, PhoneMessage, Piece

PAGE = 25
MAX_PAGE = 100
REQUESTS_SECONDS = 30 * DAY
_PLATFORMS = {"facebook": "messenger", "instagram": "instagram"}
_MESSAGES = fields_of("id,created_time")
_SHARES = frozenset(
    {"reel", "ig_reel", "post", "ig_post", "share", "fallback", "story", "ig_story", "template"}
)
_STICKERS = frozenset({"sticker"})


class Conversations:
    """Reads dialogues."""

    def __init__(self, meta: Meta, cdn: Cdn, limits: dict[str, Limits]) -> None:
        self._meta = meta
        self._cdn = cdn
        self._limits = limits

    def list(self, businesses: Sequence[Business], call: Call) -> Called:
        """`GET /{id}/conversations?platform=`."""
        default = "messenger" if call.token.host == "facebook" else "instagram"
        platform = call.body.get("platform", default)
        if platform not in _PLATFORMS.values():
            raise bad_parameter("Param platform must be one of {INSTAGRAM, MESSENGER}")
        business = next((b for b in businesses if _PLATFORMS[b.kind] == platform), None)
        if business is None:
            return Called({"data": []}, businesses[0])
        self._limits[business.account.id].take_read()
        chats = [chat for chat in business.chats.values() if chat.messages and self._is_listed(chat)]
        if call.body.get("user_id") is not None:
            chats = [chat for chat in chats if chat.id == call.body["user_id"]]
        chats.sort(key=lambda chat: _key(_place(chat)), reverse=True)
        keys = [_place(chat) for chat in chats]
        limit, start = _limit(call), _start(keys, call.body.get("after"))
        page = chats[start : start + limit]
        asked = fields_of(call.body.get("fields")) or fields_of("id,updated_time")
        answer: Json = {"data": [self._told(business, chat, asked, call) for chat in page]}
        if page:
            answer["paging"] = self._paging(
                business, call, call.request.path, keys[start : start + limit], start + limit < len(chats)
            )
        return Called(answer, business)

    def conversation(self, business: Business, chat: Chat, call: Call) -> Called:
        """`GET /{conversation}?fields=messages{…}`."""
        self._limits[business.account.id].take_read()
        asked = fields_of(call.body.get("fields")) or fields_of("id,updated_time")
        return Called({**self._told(business, chat, asked, call), "id": chat.thread_id}, business, chat)

    def messages(self, business: Business, chat: Chat, call: Call) -> Called:
        """`GET /{conversation}/messages`: what `next` of a conversation leads to."""
        self._limits[business.account.id].take_read()
        after = call.body.get("after")
        asked = Field(
            "messages",
            _limit(call),
            after if isinstance(after, str) else None,
            fields_of(call.body.get("fields")),
        )
        return Called(self._messages(business, chat, asked, call), business, chat)

    def message(self, business: Business, chat: Chat, message: PhoneMessage, call: Call) -> Called:
        """`GET /{mid}`."""
        self._limits[business.account.id].take_read()
        newer = sum(_key(_mark(other)) > _key(_mark(message)) for other in chat.messages)
        if message.deleted or (business.details is not None and newer >= business.details):
            raise bad_parameter("The message has been deleted.")
        asked = fields_of(call.body.get("fields")) or _MESSAGES
        answer = chosen(self._known(business, chat, message), asked, "Message")
        return Called({**answer, "id": message.id}, business, chat)

    def _is_listed(self, chat: Chat) -> bool:
        return not (chat.requests and self._meta.clock() - chat.updated_at > REQUESTS_SECONDS)

    def _told(self, business: Business, chat: Chat, asked: tuple[Field, ...], call: Call) -> Json:
        told: Json = {}
        for one in asked:
            match one.name:
                case "id":
                    told["id"] = chat.thread_id
                case "updated_time":
                    told["updated_time"] = _time(chat.updated_at)
                case "participants":
                    told["participants"] = {"data": [_client(business, chat), _us(business)]}
                case "messages":
                    told["messages"] = self._messages(business, chat, one, call)
                case "link" | "message_count" | "unread_count" | "snippet" | "can_reply" | "name":
                    continue
                case _:
                    raise bad_parameter(
                        f"Tried accessing nonexisting field ({one.name}) on node type (UnifiedThread)"
                    )
        return {**told, "id": chat.thread_id}

    def _messages(self, business: Business, chat: Chat, asked: Field, call: Call) -> Json:
        found = sorted(
            (m for m in chat.messages if not m.deleted), key=lambda one: _key(_mark(one)), reverse=True
        )
        keys = [_mark(message) for message in found]
        limit, start = min(asked.limit or PAGE, MAX_PAGE), _start(keys, asked.after)
        inner = asked.inner or _MESSAGES
        data = []
        for number, message in enumerate(found[start : start + limit], start):
            is_whole = business.details is None or number < business.details
            known = self._known(business, chat, message)
            fields = inner if is_whole else _MESSAGES
            data.append({**chosen(known, fields, "Message"), "id": message.id})
        told: Json = {"data": data}
        if data:
            begin = call.request.path.partition(call.request.match_info["object_id"])[0]
            path = f"{begin}{chat.thread_id}/messages"
            told["paging"] = self._paging(
                business,
                call,
                path,
                keys[start : start + limit],
                start + limit < len(found),
                _text(inner),
                limit,
            )
        return told

    def _paging(
        self,
        business: Business,
        call: Call,
        path: str,
        keys: Sequence[str],
        has_more: bool,
        fields: str | None = None,
        limit: int | None = None,
    ) -> Json:
        paging: Json = {"cursors": {"before": keys[0], "after": keys[-1]}}
        if has_more:
            query: Json = {key: value for key, value in call.body.items() if key != "after"}
            if fields is not None:
                query = {"fields": fields, "limit": limit}
            paging["next"] = f"{business.base}{path}?{urlencode({**query, 'after': keys[-1]})}"
        return paging

    def _known(self, business: Business, chat: Chat, message: PhoneMessage) -> Json:
        """Everything of a message; what it does not have is None."""
        author, other = (
            (_client(business, chat), _us(business))
            if message.from_client
            else (_us(business), _client(business, chat))
        )
        files = [piece for piece in message.pieces if piece.file is not None and piece.type not in _STICKERS]
        attachments = [
            self._attachment(business, message, piece, piece.file)
            for piece in files
            if piece.file is not None and piece.type not in _SHARES and piece.type != "story_mention"
        ]
        sticker = next((p.file for p in message.pieces if p.type in _STICKERS and p.file is not None), None)
        shares = [self._share(business, piece) for piece in message.pieces if piece.type in _SHARES]
        is_odd = message.kind in ("ephemeral", "unsupported", "like") and message.from_client
        return {
            "id": message.id,
            "created_time": _time(message.at),
            "from": author,
            "to": {"data": [other]},
            "message": message.text,
            "attachments": {"data": attachments} if attachments else None,
            "sticker": None if sticker is None else self._cdn.link(business, sticker),
            "shares": {"data": shares} if shares else None,
            "story": self._story(business, message),
            "reactions": None,
            "tags": None,
            "is_unsupported": True if is_odd else None,
        }

    def _attachment(self, business: Business, message: PhoneMessage, piece: Piece, file: StoredFile) -> Json:
        url = self._cdn.link(business, file)
        looks = file.looks
        told: Json = {
            "id": f"{message.id[-20:]}:{message.pieces.index(piece)}",
            "mime_type": looks.mime,
            "name": name_of(file),
            "size": file.size,
        }
        sides: Json = {"width": looks.width, "height": looks.height}
        if piece.type in ("image", "media"):
            picture: Json = {**sides, "max_width": looks.width, "max_height": looks.height, "url": url}
            return {
                **told,
                "image_data": {**picture, "preview_url": url, "render_as_sticker": file.kind == "sticker"},
            }
        if piece.type == "video":
            return {**told, "video_data": {**sides, "url": url, "preview_url": url}}
        return {**told, "file_url": url}

    def _share(self, business: Business, piece: Piece) -> Json:
        payload = piece.payload or {}
        url = payload.get("url") or (None if piece.file is None else self._cdn.link(business, piece.file))
        told: Json = {"link": url, "name": payload.get("title")}
        return {key: value for key, value in told.items() if value is not None}

    def _story(self, business: Business, message: PhoneMessage) -> Json | None:
        if message.story is None:
            return None
        link = self._cdn.link(business, message.story.file)
        word = "mention" if message.kind == "story_mention" else "reply_to"
        return {word: {"link": link, "id": message.story.id}}


def _client(business: Business, chat: Chat) -> Json:
    if business.kind == "instagram":
        return {"username": chat.username, "id": chat.id}
    return {"name": chat.user.full_name, "email": f"{chat.id}@facebook.com", "id": chat.id}


def _us(business: Business) -> Json:
    account = business.account
    if business.kind == "instagram":
        return {"username": account.username, "id": account.id}
    return {"name": account.name, "email": f"{account.id}@facebook.com", "id": account.id}


def _limit(call: Call) -> int:
    given = str(call.body.get("limit", PAGE))
    return max(1, min(int(given), MAX_PAGE)) if given.isascii() and given.isdigit() else PAGE


def _start(keys: Sequence[str], after: object) -> int:
    """Where to go on: behind the cursor, and when it is gone behind what is newer than it."""
    if not isinstance(after, str) or not after:
        return 0
    try:
        mark = _key(after)
    except ValueError as exc:
        raise bad_parameter("Invalid cursors values in the parameter after") from exc
    return next((number for number, text in enumerate(keys) if _key(text) < mark), len(keys))


def _mark(message: PhoneMessage) -> str:
    return f"{message.at:.6f}~{message.id[-12:]}"


def _place(chat: Chat) -> str:
    return f"{chat.updated_at:.6f}~{chat.thread_id}"


def _key(text: str) -> tuple[float, str]:
    at, _, name = text.partition("~")
    return float(at), name


def _text(fields: Sequence[Field]) -> str:
    return ",".join(one.name + (f"{{{_text(one.inner)}}}" if one.inner else "") for one in fields)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
