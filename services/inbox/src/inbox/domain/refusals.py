"""Why an answer is not ordered, and what must be equal for it to be a repeat."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from datetime import datetime
from typing import Final

from inbox.domain.commands import Door, PostReply, Refusal
from inbox.domain.state import Known
from inbox.domain.windows import refuse_outside
from msgkit.contracts.words import AuthorKind

SIGN_MAX_CHARS: Final = 16
"""One sign may be a person with two hues of skin and a heart: ten characters that are seen as one."""


def refuse_reply(state: Known, command: PostReply, moment_at: datetime, door: Door) -> Refusal | None:
    """The first rule that says no to an answer or a note."""
    if state.n == 0 or state.contact is None:
        return Refusal(404, "not_found", "Немає такого чату.")
    refusal = _refuse_content(state, command)
    if refusal is not None or command.note:
        return refusal
    refusal = refuse_sending(
        state, door, moment_at, command.author.kind, is_template=command.template is not None
    )
    if refusal is not None:
        return refusal
    if command.seen_n is not None and not command.force and not command.is_reaction:
        others_n = state.other_answer_n if state.last_answer_by == command.author.id else state.last_answer_n
        if max(others_n, *(one.n for one in state.elsewhere), 0) > command.seen_n:
            return Refusal(
                409, "colleague_replied", "Колега вже відповів. Прочитайте і надішліть ще раз, якщо треба."
            )
    return None


def _refuse_content(  # noqa: PLR0911  # one line per reason
    state: Known, command: PostReply
) -> Refusal | None:
    more = command.place or command.shared_contact or command.template
    has_more = more is not None or command.is_reaction
    if not command.text.strip() and not command.attachments and not has_more:
        return Refusal(422, "invalid", "Порожнє повідомлення. Напишіть текст або додайте файл.")
    if len({upload.id for upload in command.attachments}) < len(command.attachments):
        return Refusal(422, "invalid", "Той самий файл додано двічі. Залиште його один раз.")
    if command.reply_to is not None and command.reply_to not in state.messages:
        return Refusal(422, "reply_to_not_found", "У цьому чаті немає повідомлення, на яке ви відповідаєте.")
    if command.note and command.buttons:
        return Refusal(422, "invalid", "Нотатка не має кнопок: клієнт її не бачить. Приберіть кнопки.")
    if command.note and has_more:
        return Refusal(
            422, "invalid", "Нотатка має лише текст і файли. Приберіть решту: клієнт її не бачить."
        )
    if command.template is not None and (
        command.attachments or command.buttons or command.place or command.shared_contact
    ):
        return Refusal(422, "invalid", "Шаблон надсилають сам. Приберіть файли, кнопки, місце й контакт.")
    return _refuse_reaction(state, command) if command.is_reaction else None


def _refuse_reaction(state: Known, command: PostReply) -> Refusal | None:
    if command.attachments or command.buttons or command.place or command.shared_contact or command.template:
        return Refusal(422, "invalid", "Реакція — це лише один знак. Решту надішліть окремо.")
    if len(command.text) > SIGN_MAX_CHARS:
        return Refusal(422, "invalid", "Реакція — це лише один знак. Слова надішліть повідомленням.")
    target = None if command.reply_to is None else state.messages.get(command.reply_to)
    if target is None or not target.provider_ids or target.is_gone or target.is_reaction:
        return Refusal(
            422, "invalid", "Реакцію ставлять на повідомлення, яке є в месенджері. Оберіть інше повідомлення."
        )
    return None


def refuse_sending(
    state: Known, door: Door, now: datetime, author: AuthorKind, *, is_template: bool
) -> Refusal | None:
    """Why nothing may go out now, e.g. because the reply window is closed."""
    if state.blocked:
        return Refusal(409, "bot_blocked", "Клієнт заблокував бота. Напишіть йому іншим каналом.")
    if door.disabled:
        return Refusal(409, "channel_disconnected", "Канал вимкнено. Адміністратор має ввімкнути його знову.")
    if not door.connected:
        return Refusal(
            409, "channel_disconnected", "Канал не підключено. Адміністратор має підключити його знову."
        )
    return None if is_template else refuse_outside(state, door, now, author)


def body_hash(command: PostReply) -> str:
    """What must be equal for a repeat of a send; what its author had seen is not part of it."""
    files = [upload.id for upload in command.attachments]
    said: list[object] = [command.text, command.reply_to, command.note, files]
    if command.buttons:
        said.append([[astuple(button) for button in row] for row in command.buttons])
    # What few have is part of it only where it is: the others keep the hash they always had.
    few = {
        name: astuple(value)
        for name, value in (
            ("place", command.place),
            ("contact", command.shared_contact),
            ("template", command.template),
        )
        if value is not None
    }
    if few or command.is_reaction:
        said.append([few, command.is_reaction])
    words = json.dumps(said, ensure_ascii=False)
    return hashlib.sha256(words.encode()).hexdigest()[:32]
