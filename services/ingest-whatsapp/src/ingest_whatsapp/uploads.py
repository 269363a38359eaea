"""Files of ours on their way to WhatsApp: uploaded once, then sent by their id.

Nothing is delivered by an upload, so it may be repeated. Ids live 30 days at Meta (fact sheet 2.3).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ingest_whatsapp.files import File, FileKind
from ingest_whatsapp.graph import ids
from ingest_whatsapp.payloads import MEDIA_ID_MAX_CHARS
from ingest_whatsapp.refusals import (
    BAD_PARAMETER,
    MEDIA_FAILED,
    NO_SUCH_OBJECT,
    ODD_VALUE,
    UNSUPPORTED_TYPE,
    to_error,
)
from msgkit.connector.contract import Account
from msgkit.connector.errors import MessageRejected, ProviderUnavailable
from msgkit.connector.graph_api import CALL_SECONDS, Ask, Graph
from msgkit.connector.raw import Node, integer, opaque
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.objects import ObjectMissing, ObjectStore, ObjectStoreUnavailable

LIVES: Final = timedelta(days=25)
KEPT: Final = 2_000
"""Ids remembered by one process; one that is forgotten costs an upload."""
BYTES_PER_SECOND: Final = 256 * 1024
"""The slowest line we wait for."""

_OF_THE_FILE = frozenset({BAD_PARAMETER, ODD_VALUE, UNSUPPORTED_TYPE, MEDIA_FAILED})
"""Refusals of an upload, where nothing but the file can be wrong."""
_NOT_TAKEN = (
    "WhatsApp не взяв цей файл. Він бере фото JPEG і PNG до 5 МБ, відео MP4 і аудіо до 16 МБ, PDF, Word, "
    "Excel, PowerPoint і текст до 100 МБ: збережіть файл так або надішліть посилання на нього."
)

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class _Uploaded:
    media_id: str
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
        return found.media_id

    def forget(self, account: Account, file: File) -> None:
        """Its id was refused: the next one uploads it again."""
        self._known.pop(_key(account, file), None)

    async def make(self, account: Account, phone_number_id: str, file: File) -> str:
        """Upload it; returns its id.

        Raises:
            MessageRejected: it is not in our store any more, or WhatsApp does not take it.
            ProviderUnavailable: our store or WhatsApp did not answer; nothing was delivered.

        Source: fact sheet 2.3.
        """
        try:
            size = await self._objects.size(file.key)
            head, tail, boundary = _form(file)
            ask = Ask(
                verb="POST",
                path=f"{ids(phone_number_id)}/media",
                name="media",
                content=self._content(file, head, tail),
                headers={
                    "Content-Type": f"multipart/form-data; boundary={boundary}",
                    "Content-Length": str(len(head) + size + len(tail)),
                },
                seconds=CALL_SECONDS + size / BYTES_PER_SECOND,
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
        media_id = opaque(answer.get("id"), MEDIA_ID_MAX_CHARS)
        if media_id is None:
            raise ProviderUnavailable("an upload was answered without an id")
        self._known[_key(account, file)] = _Uploaded(media_id, self._clock() + LIVES)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return media_id

    async def _content(self, file: File, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
        yield head
        async for chunk in self._objects.read(file.key):
            yield chunk
        yield tail


def _refused(error: Node) -> Exception:
    """What a refusal of an upload means. Said before anything was sent, so the client gets no half of it."""
    is_final = error.get("is_transient") is not True
    is_known = integer(error.get("error_subcode")) != NO_SUCH_OBJECT
    if is_final and is_known and integer(error.get("code")) in _OF_THE_FILE:
        return MessageRejected(FailureCode.UNSUPPORTED_KIND, _NOT_TAKEN)
    return to_error(error)


def _key(account: Account, file: File) -> _Key:
    return account.channel_id, account.account_id, file.key, _content_type(file)


def _content_type(file: File) -> str:
    # An ogg without its codec could be anything, and only one is played (fact sheet 2.4).
    is_opus = file.kind is FileKind.AUDIO and file.mime == "audio/ogg"
    return f"{file.mime}; codecs=opus" if is_opus else file.mime


def _form(file: File) -> tuple[bytes, bytes, str]:
    """What stands around the bytes of the file, and the boundary."""
    boundary = secrets.token_hex(16)
    ending = file.name.rpartition(".")[2]
    # The client reads the name from the message; here an ending is enough, and needs no escaping.
    name = f"file.{ending}" if ending.isascii() and ending.isalnum() else "file"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="messaging_product"\r\n\r\nwhatsapp\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {_content_type(file)}\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode(), boundary
