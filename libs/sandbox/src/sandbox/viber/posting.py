"""A client sends something: texts at once, files after they were made or uploaded, several one by one."""

from collections.abc import Sequence

from sandbox.darkroom import Darkroom
from sandbox.files import StoredFile
from sandbox.picking import Part, Picker, Turns, file_of, receipt_of
from sandbox.uploads import Arrived
from sandbox.viber.acts import Writing
from sandbox.viber.clients import ViberPhones
from sandbox.viber.downloads import ViberDownloads
from sandbox.viber.state import Bot, Json

PICKER = Picker(
    frozenset({"photo", "video", "document"}),
    (("image/jpeg", "photo"), ("image/png", "photo"), ("video/mp4", "video")),
    "За раз",
)


class ViberPosting:
    """Brings what a client wants to send into the shape the phones send."""

    def __init__(self, phones: ViberPhones, darkroom: Darkroom, downloads: ViberDownloads) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._downloads = downloads
        self._turns = Turns()

    async def post(self, bot: Bot, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before.

        Args:
            arrived: uploaded files; each becomes a message of its own, as with Viber.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = PICKER.parts(body, arrived)
        async with self._turns.of(bot.account.uri, client):
            return await self._post(bot, client, body, parts)

    async def _post(self, bot: Bot, client: str, body: Writing, parts: list[Part]) -> Json:
        if not parts:
            file = await self._sticker(bot, client, body) if body.kind == "sticker" else None
            return receipt_of([self._phones.write(bot, client, body, file=file)])
        files = [await file_of(self._darkroom, bot.account.number, part, client) for part in parts]
        receipts = []
        for part, file in zip(parts, files, strict=True):
            change = {"kind": part.kind, "text": part.caption, "album": None}
            receipts.append(self._phones.write(bot, client, body.model_copy(update=change), file=file))
        return receipt_of(receipts)

    async def _sticker(self, bot: Bot, client: str, body: Writing) -> StoredFile:
        """The picture of a sticker as the phone shows it."""
        return await self._darkroom.drawn(
            bot.account.number, self._downloads.sticker_picture(body.sticker_id), client
        )
