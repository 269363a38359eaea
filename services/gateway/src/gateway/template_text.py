"""A template with its places filled in: would the messenger take it, and how the client reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgkit.contracts.events import OrderedTemplate, TemplateValue
from msgkit.contracts.internal_api import TEXT_MAX_CHARS, MessageTemplate, TemplatePlace

VALUE_MAX_CHARS = 1024
"""Of one place: what a whole header or body of a template may have, so nothing longer could ever be shown."""
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
_GAP = re.compile(" {4,}")


class TemplateRefused(Exception):
    """It cannot be sent like this.

    Args:
        code: For programs.
        text: For the operator, in Ukrainian: what to do.
        place: The key of the place that is wrong, if it is one.
    """

    def __init__(self, code: str, text: str, place: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.place = place


@dataclass(frozen=True, slots=True)
class FilledTemplate:
    """An order for a connector, and its words for everybody else."""

    order: OrderedTemplate
    text: str


def fill(template: MessageTemplate, values: Mapping[str, str]) -> FilledTemplate:
    """Fill the places of a template.

    Args:
        template: As its connector tells it.
        values: By the key of the place; what stands around a value is cut off.

    Raises:
        TemplateRefused: it may not be sent from here, a place is missing, unknown or would be refused.
    """
    if template.unusable is not None:
        raise TemplateRefused("template_unusable", template.unusable)
    keys = {place.key for place in template.places}
    unknown = next((key for key in values if key not in keys), None)
    if unknown is not None:
        raise TemplateRefused(
            "template_value", f"У шаблоні немає місця «{unknown[:50]}». Оновіть список шаблонів.", unknown
        )
    given = {place.key: _checked(place, values.get(place.key, "")) for place in template.places}
    text = _text(template, given)
    if len(text) > TEXT_MAX_CHARS:
        raise TemplateRefused(
            "template_value", f"Разом виходить понад {TEXT_MAX_CHARS} символів. Скоротіть значення."
        )
    filled = [
        TemplateValue(part=place.part, index=place.index, name=place.name, value=given[place.key])
        for place in template.places
    ]
    order = OrderedTemplate(name=template.name, language=template.language, values=filled)
    return FilledTemplate(order, text)


def _checked(place: TemplatePlace, value: str) -> str:
    wanted = value.strip()
    if not wanted:
        raise TemplateRefused("template_value", f"Заповніть місце «{_named(place)}».", place.key)
    if len(wanted) > VALUE_MAX_CHARS:
        raise TemplateRefused(
            "template_value",
            f"«{_named(place)}»: не більше {VALUE_MAX_CHARS} символів. Скоротіть текст.",
            place.key,
        )
    # Source: the messenger's rule for values of a template, refused by it with its code 132007 or 132012.
    if _BREAKS.search(wanted) or _GAP.search(wanted):
        raise TemplateRefused(
            "template_value",
            f"«{_named(place)}»: без нових рядків, табуляцій і чотирьох пропусків поспіль.",
            place.key,
        )
    return wanted


def _named(place: TemplatePlace) -> str:
    return place.example or place.name or place.key


def _text(template: MessageTemplate, given: Mapping[str, str]) -> str:
    """Header, body and footer, one below the other; the titles of the buttons are no text."""
    header = _filled(template.header or "", dict(_marks(template, "header", given)))
    body = _filled(template.body, dict(_marks(template, "body", given)))
    return "\n".join(part for part in (header, body, template.footer) if part)


def _marks(template: MessageTemplate, part: str, given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What stands in the braces of this part, and its value: a name, else the number of the place."""
    places = (place for place in template.places if place.part == part)
    for number, place in enumerate(places, 1):
        yield place.name or str(number), given[place.key]


def _filled(pattern: str, by_mark: Mapping[str, str]) -> str:
    # In one pass: braces inside a value are the operator's own.
    return _PLACE.sub(lambda mark: by_mark.get(mark[1], mark[0]), pattern)
