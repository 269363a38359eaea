"""What follows from a message of the time before the account was connected.

It counts as nothing: no request, no reply window, nothing unread, no bot. A conversation nothing else is
known of lies in «Завершені» until somebody writes; a living one keeps its row. What came as news is not
recalled; what was recalled first and comes as news after all is news.
"""

from __future__ import annotations

from inbox.domain.bodies import early_changes, to_body, to_card
from inbox.domain.commands import NOTHING, Decision, Moment
from inbox.domain.events import FilesRecalled, Recalled
from inbox.domain.places import to_ms
from inbox.domain.state import Known, Message
from msgkit.contracts.events import MessageRecalled
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.words import Direction, MessageState


def recall(state: Known, command: MessageRecalled, moment: Moment) -> Decision:
    """A message of the history, or its files, which are told as the same message once more."""
    message_id = inbound_message_id(state.id, command.provider_id)
    key = f"recalled:{state.id}:{command.provider_id}"
    body = to_body(command.content, message_id)
    known = state.messages.get(message_id)
    if known is not None:
        is_without = known.is_recalled and known.withdrawn_at is None and not known.body.attachments
        if not is_without or not body.attachments:
            return NOTHING
        return (FilesRecalled(dedupe_id=f"files-{key}", message_id=message_id, body=body),)
    if any(command.provider_id in message.provider_ids for message in state.messages.values()):
        return NOTHING  # an answer ordered here
    event = Recalled(
        dedupe_id=key,
        message_id=message_id,
        n=state.n + 1,
        contact=to_card(state, command.contact, command.content),
        provider_id=command.provider_id,
        provider_time=min(to_ms(command.sent_at), moment.at),
        direction=command.direction,
        body=body,
        state=command.state if command.direction is Direction.OUT else MessageState.DELIVERED,
    )
    return (event, *early_changes(state, command.provider_id, message_id, body))


def gives_way(message: Message | None) -> bool:
    """Whether news with the same id takes its place."""
    return message is None or (message.is_recalled and message.withdrawn_at is None)
