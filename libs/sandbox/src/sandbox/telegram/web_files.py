"""Files a bot names by their address: Telegram fetches them itself.

Source: Bot API, «Sending files»: photos up to 5 MB, other files up to 20 MB; error texts of the open server.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import aiohttp

from sandbox.files import Files
from sandbox.telegram.params import ApiError
from sandbox.uploads import Arrived

MAX_PHOTO_BYTES = 5 * 1024 * 1024
MAX_FILE_BYTES = 20 * 1024 * 1024
TIMEOUT_SECONDS = 10.0
MAX_REDIRECTS = 5
_TYPES = {"photo": "image/", "video": "video/", "animation": "", "voice": "audio/", "audio": "audio/"}
_DOCUMENTS = ("application/pdf", "application/zip")
"""A document comes by address only as one of these."""


class WebFiles:
    """The part of Telegram that fetches files from the internet."""

    def __init__(self, http: aiohttp.ClientSession, files: Files) -> None:
        self._http = http
        self._files = files

    @asynccontextmanager
    async def fetched(self, url: str, kind: str) -> AsyncIterator[Arrived]:
        """The bytes behind an address; removed at the end unless somebody took them.

        Raises:
            ApiError: they cannot be fetched or are of another kind, in Telegram's words.
        """
        place = self._files.draft()
        try:
            yield await self._fetch(
                url if "://" in url else f"http://{url}", kind, Arrived(place, None, None, 0)
            )
        finally:
            place.unlink(missing_ok=True)

    async def _fetch(self, url: str, kind: str, empty: Arrived) -> Arrived:
        limit = MAX_PHOTO_BYTES if kind == "photo" else MAX_FILE_BYTES
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        failed = ApiError(400, "Bad Request: failed to get HTTP URL content")
        size = 0
        try:
            async with self._http.get(url, timeout=timeout, max_redirects=MAX_REDIRECTS) as answer:
                if not 200 <= answer.status <= 299:
                    raise failed
                mime = answer.content_type
                with empty.place.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(256 * 1024):
                        size += len(chunk)
                        if size > limit:
                            raise failed
                        file.write(chunk)
                name = PurePosixPath(answer.url.path).name or None
        except aiohttp.InvalidURL as exc:
            raise ApiError(400, "Bad Request: invalid file HTTP URL specified: Wrong HTTP URL") from exc
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise failed from exc
        fits = mime in _DOCUMENTS if kind == "document" else mime.startswith(_TYPES.get(kind, ""))
        if size == 0 or not fits:
            raise ApiError(400, "Bad Request: wrong type of the web page content")
        return Arrived(empty.place, name, mime, size)
