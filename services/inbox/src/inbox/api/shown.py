"""Rows, messages and counters as a viewer gets them."""

from __future__ import annotations

import asyncio
from typing import Final

from inbox.api.doors import Viewer
from inbox.channels import door_of
from inbox.domain import Message, State, View, message_view, row_view, unread, window_of
from inbox.kinds import Kinds
from inbox.lists import Lists
from msgkit.contracts.views import Counters, MessageView, ViewerRow
from msgkit.contracts.words import ChatList
from msgkit.runtime.clock import Clock

COUNTED: Final = (ChatList.ACTIVE, ChatList.MINE, ChatList.NEW, ChatList.BOT, ChatList.WAITING)


def shown(message: Message) -> MessageView:
    return MessageView.model_validate(message_view(message))


class Rows:
    """Rows of conversations as they are at this moment: a reply window closes without anybody's doing."""

    def __init__(self, kinds: Kinds, clock: Clock) -> None:
        self._kinds = kinds
        self._clock = clock

    def row(self, state: State, viewer: Viewer) -> View:
        """A ConversationRow as plain values."""
        messenger = self._kinds.of(state.channel_kind)
        door = door_of(viewer.channels.get(state.channel_id), messenger)
        window = window_of(state, door, self._clock())
        return row_view(state, viewer.title(state.channel_id), window, messenger)

    def viewer_row(
        self, state: State, viewer: Viewer, mark: int, first_unread: str | None = None
    ) -> ViewerRow:
        return ViewerRow.model_validate(
            {
                **self.row(state, viewer),
                "unread": unread(state, mark),
                "mark_in_seq": mark,
                "first_unread_id": first_unread,
            }
        )

    async def with_mark(self, lists: Lists, state: State, viewer: Viewer) -> ViewerRow:
        mark = (await lists.marks(viewer.tenant_id, viewer.user_id, [state.id])).get(state.id, 0)
        first = None
        if unread(state, mark):
            first = await lists.first_unread(viewer.key(state.id), max(mark, state.answered_seq))
        return self.viewer_row(state, viewer, mark, first)


async def counters_of(lists: Lists, viewer: Viewer) -> Counters:
    async with asyncio.TaskGroup() as group:
        counts = {
            list_: group.create_task(lists.count(viewer.tenant_id, viewer.allowed, list_, viewer.user_id))
            for list_ in COUNTED
        }
        blue = group.create_task(lists.count_unread(viewer.tenant_id, viewer.allowed, viewer.user_id))
    found = {list_.value: task.result() for list_, task in counts.items()}
    return Counters(lists=found, red=found[ChatList.ACTIVE.value], blue=blue.result())
