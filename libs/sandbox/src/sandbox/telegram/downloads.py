"""Files going out: `getFile`, `/file/bot<token>/<path>` with its faults, and the phone page's own copies.

Source: open Bot API server (20 MB, error texts); the link carries the token and is good for an hour or more.
"""

from aiohttp import web

from sandbox.faults import DOWNLOAD, Fault, FaultPlan
from sandbox.files import Files, StoredFile
from sandbox.ledger import Ledger
from sandbox.serving import Sent, Serving, whole
from sandbox.telegram import media
from sandbox.telegram.params import ApiError, Method, Outcome, Params
from sandbox.telegram.state import Bot, Telegram

MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024
"""Source: Bot API, getFile."""
_REFUSALS = {
    "429": (429, "Too Many Requests: retry after {seconds}"),
    "500": (500, "Internal Server Error: restart"),
    "502": (502, "Bad Gateway"),
    "vanished": (404, "Not Found"),
}
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "video/", "audio/")
_COPY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, max-age=3600",
}


class Downloads:
    """Gives the bytes of files to bots and to the phone page."""

    def __init__(
        self, telegram: Telegram, files: Files, faults: FaultPlan, ledger: Ledger, serving: Serving
    ) -> None:
        self._telegram = telegram
        self._files = files
        self._faults = faults
        self._ledger = ledger
        self._serving = serving

    def methods(self) -> dict[str, Method]:
        """By the name of the method, in small letters."""
        return {"getfile": self.get_file}

    def routes(self) -> list[web.RouteDef]:
        """Where bots and the phone page load bytes."""
        return [
            web.get("/file/bot{token:[^/]*}/{path:.+}", self._download),
            web.get("/control/files/{unique_id}", self._copy),
        ]

    def get_file(self, bot: Bot, params: Params) -> Outcome:
        """Tell the path of a file."""
        file_id = params.text("file_id")
        if not file_id:
            raise ApiError(400, "Bad Request: file_id not specified")
        file = self._files.by_id(bot.account.id, file_id)
        if file is None:
            raise ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if file.size > MAX_DOWNLOAD_BYTES:
            raise ApiError(400, "Bad Request: file is too big")
        return Outcome(media.as_file(file))

    async def _copy(self, request: web.Request) -> web.StreamResponse:
        """The bytes for the phone page; what is no picture or recording is only saved, never shown."""
        file = self._files.by_unique(request.match_info["unique_id"])
        if file is None:
            raise web.HTTPNotFound(text="Такого файлу більше немає: пісочниця пам'ятає лише нові файли.")
        mime = file.looks.mime
        shown = mime.startswith(_SHOWN)
        headers = {**_COPY_HEADERS, "Content-Type": mime if shown else "application/octet-stream"}
        if not shown:
            headers["Content-Disposition"] = "attachment"
        return web.FileResponse(file.place, headers=headers)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        bot = self._telegram.bots.get(request.match_info["token"])
        if bot is None:
            return _refusal(401, "Unauthorized")
        file = self._files.by_path(bot.account.id, request.match_info["path"])
        client = None if file is None else file.client
        fault = self._faults.for_download(bot.channel_id, client)
        sent = Sent()
        try:
            if fault is not None:
                return await self._faulty(request, file, fault, sent)
            if file is None:
                sent.status = 404
                return _refusal(404, "Not Found")
            return await whole(request, file, sent)
        finally:
            person = None if client is None else self._telegram.people.get(client)
            self._ledger.api(
                channel_id=bot.channel_id,
                client=client,
                chat_id=None if person is None else person.id,
                message_id=None,
                text=request.match_info["path"],
                method=DOWNLOAD,
                status=sent.status,
                error=None,
                accepted=sent.whole,
                fault=None if fault is None else fault.kind,
            )

    async def _faulty(
        self, request: web.Request, file: StoredFile | None, fault: Fault, sent: Sent
    ) -> web.StreamResponse:
        """Answers that are no file; `file` may be unknown."""
        if file is None or fault.kind in _REFUSALS:
            sent.status, text = _REFUSALS.get(fault.kind, _REFUSALS["vanished"])
            return _refusal(sent.status, text, fault.retry_after if fault.kind == "429" else None)
        return await self._serving.faulty(request, file, fault, sent)


def _refusal(status: int, description: str, retry_after: int | None = None) -> web.Response:
    description = description.format(seconds=retry_after)
    body: dict[str, object] = {"ok": False, "error_code": status, "description": description}
    headers = {}
    if retry_after is not None:
        body["parameters"] = {"retry_after": retry_after}
        headers["Retry-After"] = str(retry_after)
    return web.json_response(body, status=status, headers=headers)
