"""What follows from a change of what is known about a contact."""

from __future__ import annotations

from inbox.domain.commands import NOTHING, Decision, Moment
from inbox.domain.events import CardChanged, Event
from inbox.domain.pieces import ContactCard
from inbox.domain.places import line, to_ms, turn_position
from inbox.domain.state import Known
from msgkit.contracts.events import ContactChanged


def change_card(state: Known, command: ContactChanged, moment: Moment) -> Decision:
    """The card of a contact we know, and a line if the client moved to another number.

    Nothing is made for a contact without a conversation: their first message will say all of it.
    """
    before = state.contact
    if state.n == 0 or before is None:
        return NOTHING
    contact = command.contact
    card = ContactCard(
        key=contact.key,
        name=contact.name or before.name,
        username=contact.username or before.username,
        phone=contact.phone if command.is_new_number else contact.phone or before.phone,
        language=contact.language or before.language,
    )
    key = f"contact:{command.event_id}"
    events: list[Event] = [] if card == before else [CardChanged(dedupe_id=key, contact=card)]
    if command.is_new_number:
        pos_at = turn_position(state, to_ms(command.happened_at), moment)
        events.append(line(state, moment, key, _words(command.previous_phone, contact.phone), pos_at))
    return tuple(events)


def _words(previous: str | None, phone: str | None) -> str:
    if phone is None:
        return "Клієнт змінив номер"
    return f"Клієнт змінив номер: {'тепер' if previous is None else f'{previous} →'} {phone}"
