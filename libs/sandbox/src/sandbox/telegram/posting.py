"""A client sends something: texts at once, files after they were made or uploaded, albums as one."""

import secrets
from collections.abc import Sequence

from sandbox.darkroom import WITH_FILE, Darkroom
from sandbox.picking import Part, Picker, Turns, file_of, receipt_of
from sandbox.telegram.acts import Writing
from sandbox.telegram.clients import Phones
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot
from sandbox.uploads import Arrived

PICKER = Picker(
    WITH_FILE,
    (("image/jpeg", "photo"), ("image/png", "photo"), ("video/mp4", "video"), ("audio/mpeg", "audio")),
    "В альбомі",
)


class Posting:
    """Brings what a client wants to send into the shape the phones send."""

    def __init__(self, phones: Phones, darkroom: Darkroom) -> None:
        self._phones = phones
        self._darkroom = darkroom
        self._turns = Turns()

    async def post(self, bot: Bot, client: str, body: Writing, arrived: Sequence[Arrived] = ()) -> Json:
        """Send it, after everything this client sent before.

        Args:
            arrived: uploaded files; one is a message, several are an album.

        Returns:
            The receipt of the first message; `provider_ids` are all of them.

        Raises:
            Refused: it cannot be sent; says why.
        """
        parts = PICKER.parts(body, arrived)
        async with self._turns.of(bot.account.id, client):
            return await self._post(bot, client, body, parts)

    async def _post(self, bot: Bot, client: str, body: Writing, parts: list[Part]) -> Json:
        if not parts:
            return receipt_of([self._phones.write(bot, client, body)])
        files = [await file_of(self._darkroom, bot.account.id, part, client) for part in parts]
        group = body.media_group_id
        if len(parts) > 1:
            group = group or str(secrets.randbits(62) | 1 << 61)
        receipts = []
        for part, file in zip(parts, files, strict=True):
            change = {"kind": part.kind, "text": part.caption, "media_group_id": group, "album": None}
            receipts.append(self._phones.write(bot, client, body.model_copy(update=change), file=file))
        result = receipt_of(receipts)
        return result if group is None else {**result, "media_group_id": group}
