"""Which orders a messenger can bring at all, by its manifest: refused here, so no connector has to know."""

from __future__ import annotations

from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import SendMessage
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import FailureCode, MessageKind


def admit(order: SendMessage, manifest: Manifest) -> None:
    """Raises: MessageRejected, for what this messenger has no words for."""
    abilities = manifest.abilities
    if order.template is not None and not abilities.templates:
        _refuse(f"{manifest.title} не має шаблонів: надішліть звичайне повідомлення.")
    if order.is_reaction and not abilities.reactions:
        _refuse(f"{manifest.title} не дає ставити реакції: надішліть відповідь текстом.")
    if order.place is not None and MessageKind.LOCATION not in abilities.media_kinds:
        _refuse(f"Сюди не можна надіслати місце на мапі ({manifest.title}): надішліть адресу текстом.")
    if order.shared_contact is not None and MessageKind.CONTACT not in abilities.media_kinds:
        _refuse(f"Сюди не можна надіслати контакт ({manifest.title}): надішліть ім’я та номер текстом.")


def _refuse(text: str) -> None:
    raise MessageRejected(FailureCode.UNSUPPORTED_KIND, text)
