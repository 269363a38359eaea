"""The trail of a message: what the log says of it, in the operator's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inbox.domain import (
    LOST_TEXTS,
    AnswerDeleted,
    AnswerEchoed,
    AnswerOrdered,
    AnswerReordered,
    AttachmentSettled,
    Commit,
    ContactBlocked,
    DeliveryChanged,
    EchoReplaced,
    Edited,
    Event,
    FateDecided,
    FilesRecalled,
    LineWritten,
    MessageCame,
    NoteWritten,
    Reacted,
    Recalled,
    TakenOver,
    Withdrawn,
)
from msgkit.contracts.internal_api import Trail, TrailStep
from msgkit.contracts.words import AuthorKind, MessageState

LATE_REFUSAL_TEXT: Final = "Не доставлено: месенджер прийняв повідомлення, а потім відмовив."
STATE_TEXTS: Final[dict[MessageState, str]] = {
    MessageState.QUEUED: "Чекає на надсилання.",
    MessageState.SENDING: "Надсилається.",
    MessageState.SENT: "Месенджер прийняв повідомлення.",
    MessageState.DELIVERED: "Доставлено на телефон клієнта.",
    MessageState.READ: "Клієнт прочитав.",
    MessageState.FAILED: "Не надіслано.",
    MessageState.UNKNOWN: "Невідомо, чи дійшло.",
}


def trail_of(message_id: str, commits: Iterable[Commit]) -> Trail:
    """The steps of one message.

    Args:
        message_id: whose trail it is.
        commits: those that say something of it, in order; what they say of others is left out.
    """
    steps = [
        step
        for commit in commits
        for event in commit.events
        if (step := _step(commit, event, message_id)) is not None
    ]
    return Trail(message_id=message_id, steps=steps)


def _step(commit: Commit, event: Event, message_id: str) -> TrailStep | None:
    if isinstance(event, TakenOver):
        is_about_it = message_id in event.cancelled
    else:
        is_about_it = getattr(event, "message_id", None) == message_id
    if not is_about_it:
        return None
    state, author, detail = _words(event)
    return TrailStep(
        at=commit.at,
        event=event.type,
        state=None if state is None else state.value,
        author=author,
        detail=detail,
        trace_id=None if commit.trace is None else commit.trace.split("-")[1],
    )


def _words(  # noqa: PLR0911, PLR0912  # one line per event
    event: Event,
) -> tuple[MessageState | None, str | None, str | None]:
    """State after it, who did it, what happened."""
    match event:
        case MessageCame():
            return None, event.contact.name, "Надійшло від клієнта."
        case Edited():
            return None, None, "Змінено в месенджері."
        case Withdrawn():
            return None, None, "Видалено в месенджері."
        case Reacted():
            return None, None, "Змінено реакцію."
        case Recalled():
            return None, None, "З історії месенджера: написано до підключення."
        case FilesRecalled():
            return None, None, "З історії месенджера надійшли файли."
        case AnswerOrdered():
            return MessageState.QUEUED, event.author.name, "Прийнято до надсилання."
        case AnswerEchoed():
            is_bot = event.author.kind is AuthorKind.BOT
            text = "Надіслано ботом." if is_bot else "Написано в самому месенджері, не у вікні."
            return MessageState.SENT, event.author.name, text
        case EchoReplaced():
            return None, None, "Це відповідь, надіслана звідси: її показано один раз."
        case AnswerReordered():
            return MessageState.QUEUED, event.by.name, f"Надсилається ще раз, спроба {event.attempt}."
        case DeliveryChanged():
            reason = "" if event.failure is None else f" {event.failure.text}"
            attempt = f" Спроба {event.attempt}." if event.attempt > 1 else ""
            text = LATE_REFUSAL_TEXT if event.is_late_refusal else STATE_TEXTS[event.state]
            return event.state, None, f"{text}{reason}{attempt}"
        case FateDecided():
            is_sent = event.state is MessageState.SENT
            return event.state, event.by.name, f"Позначено як {'надіслане' if is_sent else 'не надіслане'}."
        case AnswerDeleted():
            return None, event.by.name, "Видалено; якщо ще не надіслано, то й не буде."
        case AttachmentSettled():
            lost = "Файл втрачено." if event.lost is None else LOST_TEXTS.get(event.lost, "Файл втрачено.")
            return None, None, "Файл збережено." if event.stored is not None else lost
        case TakenOver():
            name = None if event.by is None else event.by.name
            return None, name, "Надсилання скасовано: замість бота відповідає людина."
        case NoteWritten():
            return None, event.author.name, "Нотатка; клієнт її не бачить."
        case LineWritten() | ContactBlocked():
            return None, None, event.text
        case _:
            return None, None, None
