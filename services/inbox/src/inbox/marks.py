"""Operators' marks of reading: how far each has read each dialogue."""

from __future__ import annotations

from collections.abc import Collection

from inbox.beside import Beside
from inbox.conversations import Conversations, Refused
from inbox.domain import Refusal, unread
from inbox.lists import Lists
from inbox.projections import Key
from inbox.readings import Readings
from msgkit.contracts.words import Handler


class Marks:
    """The use cases of marks; other windows of the same operator are told."""

    def __init__(
        self, conversations: Conversations, lists: Lists, beside: Beside, readings: Readings
    ) -> None:
        self._conversations = conversations
        self._lists = lists
        self._beside = beside
        self._readings = readings

    async def mark_read(self, key: Key, operator_id: str, n: int, allowed: Collection[str]) -> int:
        """Move an operator's mark to message `n`; returns the mark now.

        Raises:
            NotFound: no such conversation for this caller.
            PublishUnknown: the mark is stored, but not told; call again.
        """
        state = await self._conversations.row(key, allowed)
        in_seq = state.in_seq if n >= state.n else await self._lists.in_seq_at(key, n)
        mark = await self._lists.raise_mark(key.tenant_id, operator_id, key, in_seq)
        if state.handler is not Handler.BOT:
            self._readings.note(state, in_seq)
        data = {"conversation_id": key.conversation_id, "in_seq": mark}
        await self._beside.tell(key.tenant_id, state.channel_id, "read.updated", data, user_id=operator_id)
        return mark

    async def mark_unread(self, key: Key, operator_id: str, n: int, allowed: Collection[str]) -> int:
        """Move an operator's mark back before message `n`; returns the mark now.

        Raises:
            NotFound: no such conversation for this caller.
            Refused: nothing of it can be unread: somebody has answered, or nobody needs to.
            PublishUnknown: the mark is stored, but not told; call again.
        """
        state = await self._conversations.row(key, allowed)
        mark = await self._lists.in_seq_at(key, n - 1)
        if not unread(state, mark):
            detail = (
                "Після цього повідомлення вже відповіли. Непрочитаним може бути лише те, що чекає відповіді."
            )
            raise Refused(Refusal(409, "nothing_unread", detail), state)
        await self._lists.set_mark(key.tenant_id, operator_id, key, mark)
        data = {"conversation_id": key.conversation_id, "in_seq": mark}
        await self._beside.tell(key.tenant_id, state.channel_id, "read.updated", data, user_id=operator_id)
        return mark
