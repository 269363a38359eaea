"""What follows from a reaction: of the client, of ours typed elsewhere, or an answer that is only a sign.

A reaction is no message: it opens nothing, counts as nothing, and does not move the chat in its list. One
ordered here is seen as an answer while it is on its way or has failed, and at its message once it went out.
"""

from __future__ import annotations

from inbox.domain.changes import is_success
from inbox.domain.commands import NOTHING, Decision
from inbox.domain.events import Reacted
from inbox.domain.pieces import Sign
from inbox.domain.places import to_ms
from inbox.domain.state import Known, Message
from msgkit.contracts.events import ReactionChanged
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.words import AuthorKind, MessageState


def react(state: Known, command: ReactionChanged) -> Decision:
    """A sign of either side; on a message we do not have, or older than what is known, it is nothing."""
    message = named(state, command.provider_id)
    if message is None or message.withdrawn_at is not None:
        return NOTHING
    is_ours = command.author_kind is AuthorKind.OPERATOR
    sign = Sign(is_ours, command.emoji or None, to_ms(command.reacted_at))
    known = next((one for one in message.signs if one.is_ours is is_ours), None)
    if known is None and sign.emoji is None:
        return NOTHING
    if known is not None and (known.emoji == sign.emoji or known.at > sign.at):
        return NOTHING
    return (Reacted(dedupe_id=f"reacted:{command.event_id}", message_id=message.id, sign=sign),)


def named(state: Known, provider_id: str) -> Message | None:
    """The message a provider's id stands for, of either side, if it is in hand."""
    found = state.messages.get(inbound_message_id(state.id, provider_id))
    if found is None:
        ours = (message for message in state.messages.values() if provider_id in message.provider_ids)
        found = next(ours, None)
    if found is not None and found.replaced_by is not None:
        return state.messages.get(found.replaced_by, found)
    return found


def after_fate(state: Known, message: Message, fate: MessageState, cause: str) -> tuple[Reacted, ...]:
    """What becomes of a sign when its answer gets that far: it is put where it belongs, or undone.

    Args:
        state: before this commit.
        message: the answer, as it is before.
        fate: its state from now on.
        cause: the key of what decides it.
    """
    target_id = message.reply_to if message.is_reaction else None
    if target_id is None or target_id not in state.messages:
        return ()
    was_out, is_out = is_success(message.state), is_success(fate)
    if was_out is is_out:
        return ()
    return (
        Reacted(
            dedupe_id=f"reacted:{cause}",
            message_id=target_id,
            sign=Sign(True, (message.body.text.strip() or None) if is_out else None, message.created_at),
            carrier_id=message.id,
            is_undone=not is_out,
        ),
    )
