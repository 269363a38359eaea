"""What is asked by the id of one message or file: mending an answer, its trail, where a file lies."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from inbox.conversations import Conversations, NotFound
from inbox.domain import Attachment, Mending, Message, media_key
from inbox.projections import Key
from inbox.store import Store
from inbox.trail import trail_of
from msgkit.contracts.internal_api import Trail


class Messages:
    """The use cases of one message."""

    def __init__(self, store: Store, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def mend(self, tenant_id: str, command: Mending, allowed: Collection[str]) -> Message:
        """Send an answer again, decide its fate, or take it away; returns it as it is then.

        Raises:
            NotFound: no such message for this caller.
            Refused: a rule says no.
        """
        key = await self._conversation_of(tenant_id, command.message_id)
        state = await self._conversations.act(tenant_id, key.conversation_id, command, allowed)
        return state.messages[command.message_id]

    async def trail(self, tenant_id: str, message_id: str, allowed: Collection[str]) -> Trail:
        """All that happened to a message.

        Raises:
            NotFound: no such message for this caller.
        """
        key = await self._conversation_of(tenant_id, message_id)
        await self._conversations.row(key, allowed)
        return trail_of(message_id, await self._store.commits_about(key, message_id))

    async def file(self, tenant_id: str, attachment_id: str, allowed: Collection[str]) -> Attachment:
        """A file of a message, fetched or not.

        Raises:
            NotFound: no such file for this caller.
        """
        projected = await self._store.projections.message_with_file(tenant_id, attachment_id)
        messages = [] if projected is None else [projected]
        found = _file(messages, attachment_id, allowed)
        if found is not None and found.key is not None:
            return found
        # Windows hear of a file a moment before the projection has it, and ask at once.
        newer = await self._unprojected(tenant_id, attachment_id)
        found = _file([*messages, *newer], attachment_id, allowed)
        if found is None:
            raise NotFound
        return found

    async def _unprojected(self, tenant_id: str, attachment_id: str) -> list[Message]:
        for about in (
            {"events.dedupe_id": media_key(attachment_id)},
            {"events.attachments.id": attachment_id},
        ):
            key = await self._store.unprojected(tenant_id, about)
            if key is not None:
                dialogue = await self._conversations.dialogue(key)
                projected = await self._store.projections.message_with_file(tenant_id, attachment_id)
                return [*dialogue.newer.values(), *([] if projected is None else [projected])]
        return []

    async def _conversation_of(self, tenant_id: str, message_id: str) -> Key:
        found = await self._store.projections.messages({tenant_id}, [message_id])
        if found:
            return Key(tenant_id, found[0].conversation_id)
        key = await self._store.unprojected(tenant_id, {"events.message_id": message_id})
        if key is None:
            raise NotFound
        return key


def _file(messages: Iterable[Message], attachment_id: str, allowed: Collection[str]) -> Attachment | None:
    """The file if the caller may see its message, the fetched one before the one still awaited."""
    found = [
        attachment
        for message in messages
        if message.channel_id in allowed and not message.is_gone
        for attachment in message.body.attachments
        if attachment.id == attachment_id
    ]
    return max(found, key=lambda attachment: attachment.key is not None, default=None)
