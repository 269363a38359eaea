"""Files: bringing one for an answer, asking for the reading address of one, and reading it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Header, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from gateway.addresses import (
    FILES_PATH,
    Address,
    FileAddresses,
    Grant,
    NotAnAddress,
    Part,
    RangeRefused,
    part_of,
)
from gateway.api.access import Guards, PathId
from gateway.clients import Inbox, not_found
from gateway.schemas import FileAddressOut, FileVariant, Session, UploadOut
from gateway.store import Upload
from gateway.uploads import Uploads
from msgkit.runtime.file_names import content_disposition
from msgkit.runtime.logs import get_logger
from msgkit.runtime.objects import ObjectMissing, ObjectStore, ObjectStoreUnavailable
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

UPLOADS_PATH = "/uploads"
_SANDBOX = "sandbox; default-src 'none'"
"""Whatever a file is: opened by itself, it runs nothing and belongs to no origin."""

FileName = Annotated[str | None, Header(alias="X-File-Name", max_length=4096, description="Percent-encoded")]
_RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def routes(uploads: Uploads, addresses: FileAddresses, inbox: Inbox, guards: Guards) -> APIRouter:
    router = APIRouter(tags=["files"])

    @router.post(UPLOADS_PATH, status_code=201, openapi_extra=_RAW_BODY)
    async def upload(
        request: Request,
        file_name: FileName = None,
        name: Annotated[str | None, Query(max_length=1024)] = None,
        session: Session = guards.chat_user,
    ) -> UploadOut:
        """Bring one file: its bytes are the body, its name is in `X-File-Name` (percent-encoded) or `?name=`.

        What it is is found out from the bytes. It can be sent for 24 hours, by whoever brought it.
        """
        claimed = name if file_name is None else unquote(file_name, errors="replace")
        chunks = request.stream()
        try:
            try:
                kept = await uploads.take_in(session, chunks, claimed, _announced(request))
            except Problem:
                await uploads.let_pass(chunks)
                raise
        except ClientDisconnect as exc:
            log.info("upload_aborted", tenant_id=session.tenant_id)
            raise Problem(400, "aborted", "Надсилання файлу перервано.") from exc
        return _upload_out(kept, addresses)

    @router.get("/media/{attachment_id}/url")
    async def media_url(
        attachment_id: PathId,
        variant: Annotated[FileVariant, Query()] = FileVariant.FULL,
        session: Session = guards.chat_user,
    ) -> FileAddressOut:
        """An address to read a file of a message from; good for some minutes, without a token."""
        record = await inbox.media(session, attachment_id)
        if variant is FileVariant.THUMB:
            if record.thumb_key is None:
                raise not_found()
            address = addresses.of_thumb(record.thumb_key, record.name)
        else:
            address = addresses.of_file(
                record.key, record.mime, record.name, record.kind, has_thumb=record.thumb_key is not None
            )
        return FileAddressOut(url=address.path, expires_at=address.expires_at)

    return router


def reading(objects: ObjectStore, addresses: FileAddresses) -> APIRouter:
    """The addresses themselves; whoever has one may read, so there is no token to check."""
    router = APIRouter(include_in_schema=False)

    @router.api_route(FILES_PATH + "/{token}/{name}", methods=["GET", "HEAD"])
    async def read(token: str, name: str, request: Request) -> Response:
        try:
            grant, seconds_left = addresses.open(token, name)
            size = await objects.size(grant.key)
        except (NotAnAddress, ObjectMissing) as exc:
            raise not_found() from exc
        except ObjectStoreUnavailable as exc:
            log.error("object_store_unavailable", reason=str(exc))  # noqa: TRY400 - its text says all
            raise Problem(
                503,
                "unavailable",
                "Файл тимчасово недоступний. Спробуйте за хвилину.",
                headers={"Retry-After": "10"},
            ) from exc
        return _answer(objects, grant, size, seconds_left, request)

    return router


def _answer(objects: ObjectStore, grant: Grant, size: int, seconds_left: float, request: Request) -> Response:
    etag = f'"{hashlib.sha256(grant.key.encode()).hexdigest()[:32]}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        # As long as the address itself is good; never in a cache others share.
        "Cache-Control": f"private, max-age={int(seconds_left)}, immutable",
        "Content-Disposition": content_disposition(grant.name, inline=grant.inline),
        "Content-Security-Policy": _SANDBOX,
    }
    if _knows(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        asked = None
    try:
        part = part_of(asked, size)
    except RangeRefused as exc:
        raise Problem(
            416,
            "range_refused",
            "Такої частини файлу немає; просіть одну частину за раз.",
            headers={"Content-Range": f"bytes */{size}"},
        ) from exc
    status = 200
    if part is not None:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    else:
        part = Part(0, size)
    headers["Content-Length"] = str(part.end - part.start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=grant.mime)
    whole = part.end - part.start == size
    chunks = objects.read(grant.key) if whole else objects.read(grant.key, part.start, part.end)
    return StreamingResponse(chunks, status, headers=headers, media_type=grant.mime)


def _knows(if_none_match: str | None, etag: str) -> bool:
    known = [] if if_none_match is None else if_none_match.split(",")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known)


def _announced(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def _upload_out(upload: Upload, addresses: FileAddresses) -> UploadOut:
    thumb: Address | None = None
    if upload.thumb_key is not None:
        thumb = addresses.of_thumb(upload.thumb_key, upload.name)
    return UploadOut(
        id=upload.id,
        kind=upload.kind,
        name=upload.name,
        mime=upload.mime,
        size=upload.size_bytes,
        width=upload.width,
        height=upload.height,
        duration_s=upload.duration_s,
        thumb_url=None if thumb is None else thumb.path,
    )
