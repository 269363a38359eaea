"""Files of ours on their way to Meta: uploaded once, then sent by their id.

Nothing is delivered by an upload, so it may be repeated. Ids live 90 days (MP-ASSET, fact sheet 2.2).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic_core import to_json

from ingest_meta.files import File
from ingest_meta.flavours import flavour_of, node_of
from ingest_meta.graph import own_id
from ingest_meta.refusals import BAD_PARAMETER, NO_SUCH_OBJECT, Does, of_account, row_of
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.connector.graph_api import CALL_SECONDS, Ask, Graph
from msgkit.connector.raw import Node, integer, opaque
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.objects import ObjectMissing, ObjectStore, ObjectStoreUnavailable

LIVES: Final = timedelta(days=80)
"""Source: fact sheet 2.2, «cache with TTL ≤ 80 days»."""
KEPT: Final = 2_000
"""Ids remembered by one process; one that is forgotten costs an upload."""
BYTES_PER_SECOND: Final = 256 * 1024
"""The slowest line we wait for."""
SETTLING_SECONDS: Final = 75.0
"""How long Meta may look at a video before it answers. Source: fact sheet 2.4, «video fetch timeout 75 s»."""

_NOT_TAKEN = (
    "Meta не взяла цей файл. Вона бере до 25 МБ: фото JPEG і PNG, відео MP4, аудіо M4A (Messenger ще MP3), "
    "документи (Instagram лише PDF): збережіть файл так або надішліть посилання на нього."
)

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class _Uploaded:
    attachment_id: str
    until: datetime


class Uploads:
    """Uploads of this process, and their ids."""

    def __init__(self, graph: Graph, objects: ObjectStore, clock: Clock = utc_now) -> None:
        self._graph = graph
        self._objects = objects
        self._clock = clock
        self._known: OrderedDict[_Key, _Uploaded] = OrderedDict()

    def known(self, account: Account, file: File) -> str | None:
        """The id of an upload made before, if it is still good."""
        found = self._known.get(_key(account, file))
        if found is None or found.until <= self._clock():
            return None
        self._known.move_to_end(_key(account, file))
        return found.attachment_id

    def forget(self, account: Account, file: File) -> None:
        """Its id was refused: the next one uploads it again."""
        self._known.pop(_key(account, file), None)

    async def make(self, account: Account, file: File) -> str:
        """Upload it; returns its id.

        Raises:
            MessageRejected: it is not in our store any more, or Meta does not take it.
            ProviderUnavailable: our store or Meta did not answer; nothing was delivered.
        """
        try:
            size = await self._objects.size(file.key)
            head, tail, boundary = _form(file, is_instagram=flavour_of(account).is_instagram)
            ask = Ask(
                verb="POST",
                path=f"{own_id(node_of(account))}/message_attachments",
                name="message_attachments",
                content=self._content(file, head, tail),
                headers={
                    "Content-Type": f"multipart/form-data; boundary={boundary}",
                    "Content-Length": str(len(head) + size + len(tail)),
                },
                seconds=max(CALL_SECONDS, SETTLING_SECONDS) + size / BYTES_PER_SECOND,
                refusal=_refused,
                waits=True,
            )
            answer = await self._graph.call(account, ask)
        except ObjectMissing:
            raise MessageRejected(
                FailureCode.REJECTED, "Прикріпленого файла вже немає в сховищі. Прикріпіть його ще раз."
            ) from None
        except ObjectStoreUnavailable as exc:
            raise ProviderUnavailable(f"the object store does not give the file: {exc}") from None
        attachment_id = opaque(answer.get("attachment_id"))
        if attachment_id is None:
            raise ProviderUnavailable("an upload was answered without an id")
        self._known[_key(account, file)] = _Uploaded(attachment_id, self._clock() + LIVES)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return attachment_id

    async def _content(self, file: File, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
        yield head
        async for chunk in self._objects.read(file.key):
            yield chunk
        yield tail


def _refused(error: Node) -> Exception:
    """What a refusal of an upload means. Said before anything was sent, so the client gets no half of it."""
    row = row_of(error)
    is_of_the_file = row is not None and row.does in {Does.REJECT, Does.UPLOAD_AGAIN}
    is_nobody = integer(error.get("error_subcode")) == NO_SUCH_OBJECT
    if error.get("is_transient") is True or is_nobody or not is_of_the_file:
        return of_account(error)
    assert row is not None
    if row.failure is FailureCode.FILE_TOO_BIG:
        return MessageRejected(row.failure, row.text)
    if row.does is Does.UPLOAD_AGAIN or row.code == BAD_PARAMETER:
        return MessageRejected(FailureCode.UNSUPPORTED_KIND, _NOT_TAKEN)
    return of_account(error)


def _key(account: Account, file: File) -> _Key:
    return account.channel_id, account.account_id, file.key, file.kind.value


def _form(file: File, *, is_instagram: bool) -> tuple[bytes, bytes, str]:
    """What stands around the bytes of the file, and the boundary.

    Source: fact sheet 2.2: `message`, `platform` for Instagram, the bytes as `filedata`.
    """
    boundary = secrets.token_hex(16)
    message = {"attachment": {"type": file.kind.value, "payload": {"is_reusable": True}}}
    fields = {"message": to_json(message), **({"platform": b"instagram"} if is_instagram else {})}
    head = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields.items()
    )
    # The client reads this name. `clean_name` left neither quotes nor line ends in it.
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="filedata"; filename="{file.name}"\r\n'
        f"Content-Type: {file.mime}\r\n\r\n"
    ).encode()
    return head, f"\r\n--{boundary}--\r\n".encode(), boundary
