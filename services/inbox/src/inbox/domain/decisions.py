"""From a command to events or a refusal, knowing one version of the conversation."""

from __future__ import annotations

from inbox.domain import answers, arrivals, cards, echoes, handling, history, signs
from inbox.domain.commands import (
    Command,
    Decision,
    DeleteAnswer,
    Door,
    Moment,
    PostReply,
    Resolve,
    Retry,
)
from inbox.domain.state import Known
from msgkit.contracts.events import (
    ContactAvailability,
    ContactChanged,
    DeliveryReported,
    MediaSettled,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
)


def decide(  # noqa: PLR0911, PLR0912  # one line per command
    state: Known, command: Command, moment: Moment, door: Door
) -> Decision:
    """What follows from a command on this version of the conversation.

    Args:
        state: the conversation, with the messages of `referenced_ids` in hand as far as they exist.
        command: what came or is wanted.
        moment: the commit this decision will be part of; `moment.number` must be a fresh request number
            if `state.needs_request`.
        door: the channel.
    """
    match command:
        case MessageReceived():
            return arrivals.receive(state, command, moment, door)
        case MessageEchoed():
            return echoes.echo(state, command, moment)
        case MessageEdited():
            return arrivals.edit(state, command)
        case MessageDeleted():
            return arrivals.withdraw(state, command)
        case MessageRecalled():
            return history.recall(state, command, moment)
        case ReactionChanged():
            return signs.react(state, command)
        case ContactChanged():
            return cards.change_card(state, command, moment)
        case ContactAvailability():
            return arrivals.availability(state, command, moment)
        case DeliveryReported():
            return answers.report(state, command, moment, door)
        case MediaSettled():
            return arrivals.settle_media(state, command)
        case PostReply():
            return answers.post_reply(state, command, moment, door)
        case Retry():
            return answers.retry(state, command, moment, door)
        case Resolve():
            return answers.resolve(state, command, moment, door)
        case DeleteAnswer():
            return answers.delete_answer(state, command)
        case _:
            return handling.handle(state, command, moment, door)
