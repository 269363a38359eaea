"""A client or the staff send something: texts at once, files once they were made or uploaded."""

from collections.abc import Sequence

from sandbox.darkroom import Darkroom
from sandbox.files import StoredFile
from sandbox.meta.acts import Desk, Writing
from sandbox.meta.clients import MetaPhones
from sandbox.meta.pointers import pointer
from sandbox.meta.state import Business, Json, Piece, Story
from sandbox.picking import Part, Picker, Turns, file_of, receipt_of
from sandbox.studio import FileOrder
from sandbox.uploads import Arrived

PICKER = Picker(
    frozenset({"photo", "video", "voice", "audio", "document", "sticker"}),
    (("image/", "photo"), ("video/", "video"), ("audio/", "audio")),
    "За раз",
)
THUMB_UP = 369239263222822
PLAIN_STICKER = 126361870881943
"""Ids of stickers; the first is the thumb. Source: the fact sheet, 1.2."""
_THUMB = {"sticker_id": THUMB_UP}
_TYPES = {"photo": "image", "video": "video", "voice": "audio", "audio": "audio", "document": "file"}
_REELS = frozenset({"reel", "ig_reel"})
_WITH_PICTURE = frozenset({"post", "story", "story_mention", "story_reply"})


class MetaPosting:
    """Brings what is to be sent into the shape the phones send."""

    def __init__(self, phones: MetaPhones, darkroom: Darkroom) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._turns = Turns()

    async def post(
        self, business: Business, client: str, body: Writing, arrived: Sequence[Arrived] = ()
    ) -> Json:
        """The client sends it, after everything he sent before; several files are one message.

        Raises:
            Refused: it cannot be sent; says why.
        """
        async with self._turns.of(business.account.id, client):
            parts = PICKER.parts(body, arrived)
            if (body.kind, business.kind) == ("like", "facebook"):
                parts, body = [Part("sticker", FileOrder(), None, None)], body.model_copy(update=_THUMB)
            pieces = [one for part in parts for one in await self._piece(business, part, body, client)]
            kind = parts[0].kind if parts else body.kind
            story = await self.story(business) if body.kind in _WITH_PICTURE else None
            shown = None if story is None else story.file
            if business.kind == "instagram" and body.kind in _REELS:
                shown = await self._film(business)
            pointed = None if parts else pointer(business.kind, body, shown)
            pieces += [] if pointed is None else [pointed]
            is_about_story = body.kind in ("story_reply", "story_mention")
            receipt = self._phones.write(
                business, client, body, kind=kind, pieces=pieces, story=story if is_about_story else None
            )
            return receipt_of([receipt])

    async def answer(self, business: Business, client: str, body: Desk) -> Json:
        """The staff answer in the messenger's own application; several files are several messages."""
        async with self._turns.of(business.account.id, client):
            parts = PICKER.parts(body, ())
            if not parts:
                return receipt_of([self._phones.answer(business, client, body, "text", ())])
            receipts = []
            for part in parts:
                file = await file_of(self._darkroom, business.account.files_id, part, client)
                told = body.model_copy(update={"text": None})
                pieces = (Piece(_TYPES.get(part.kind, "image"), {}, file),)
                receipts.append(self._phones.answer(business, client, told, part.kind, pieces))
            if body.text:
                receipts.append(self._phones.answer(business, client, body, "text", ()))
            return receipt_of(receipts)

    async def story(self, business: Business) -> Story:
        """The story the account shows today."""
        if business.story is None:
            picture = await self._picture(business)
            number = str(18_000_000_000_000_000 + business.account.files_id)
            business.story = Story(number, "Новинки тижня", picture)
        return business.story

    async def _picture(self, business: Business) -> StoredFile:
        part = Part("photo", FileOrder(width=720, height=1280), None, None)
        return await file_of(self._darkroom, business.account.files_id, part, "")

    async def _film(self, business: Business) -> StoredFile:
        part = Part("video", FileOrder(), None, None)
        return await file_of(self._darkroom, business.account.files_id, part, "")

    async def _piece(self, business: Business, part: Part, body: Writing, client: str) -> list[Piece]:
        file = await file_of(self._darkroom, business.account.files_id, part, client)
        if part.kind != "sticker":
            return [Piece(_TYPES[part.kind], {}, file)]
        if business.kind == "instagram":
            return [Piece("image", {}, file)]
        number: Json = {"sticker_id": body.sticker_id or PLAIN_STICKER}
        now = Piece("sticker", number, file)
        return [Piece("image", number, file), now] if body.doubled else [now]
