"""Templates: what a business account has, as our words, and an order as the call wants it. Pure.

Source: fact sheet 2.3, 2.8 and 3; the parts of a template: WA/business-management-api/message-templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgkit.connector.raw import Node, is_node, items, node, text, words
from msgkit.contracts.events import OrderedTemplate, TemplateValue
from msgkit.contracts.internal_api import MessageTemplate, TemplatePlace

VALUE_MAX_CHARS = 1024
"""Of one place; the filled-in body has the same limit (fact sheet 2.4)."""
_NAME_MAX_CHARS = 512
_EXAMPLE_MAX_CHARS = 200
_PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")
_APPROVED = "APPROVED"
_PLAIN_BUTTONS = frozenset({"QUICK_REPLY", "URL", "PHONE_NUMBER", "REQUEST_CONTACT_INFO"})
_MEDIA_HEADERS = {
    "IMAGE": "зображення",
    "VIDEO": "відео",
    "DOCUMENT": "документ",
    "LOCATION": "місце на мапі",
}


def to_templates(listed: Iterable[object]) -> list[MessageTemplate]:
    """The approved ones, by name and language; what is unreadable is left out.

    Args:
        listed: elements of `data` of `GET /{waba_id}/message_templates`, of all pages.
    """
    found = [
        template for one in listed if is_node(one) for template in [_template(one)] if template is not None
    ]
    return sorted(found, key=lambda template: (template.name, template.language))


def to_order(order: OrderedTemplate) -> dict[str, Any]:
    """The object of the call: each part with its values, in the order they came."""
    components: list[dict[str, Any]] = []
    for part in ("header", "body"):
        values = [_parameter(value) for value in order.values if value.part == part]
        if values:
            components.append({"type": part, "parameters": values})
    for index in sorted({value.index for value in order.values if value.part == "button"}):
        values = [
            {"type": "text", "text": value.value}
            for value in order.values
            if value.part == "button" and value.index == index
        ]
        components.append({"type": "button", "sub_type": "url", "index": str(index), "parameters": values})
    content: dict[str, Any] = {"name": order.name, "language": {"code": order.language}}
    return {**content, "components": components} if components else content


def _parameter(value: TemplateValue) -> dict[str, Any]:
    named = {} if value.name is None else {"parameter_name": value.name}
    return {"type": "text", **named, "text": value.value}


def _template(told: Node) -> MessageTemplate | None:
    name, language = words(told.get("name"), _NAME_MAX_CHARS), words(told.get("language"), 32)
    if name is None or language is None or told.get("status") != _APPROVED:
        return None
    parts = {_kind(part): part for part in items(told.get("components")) if is_node(part)}
    header, body = parts.get("HEADER", {}), parts.get("BODY", {})
    buttons = [button for button in items(parts.get("BUTTONS", {}).get("buttons")) if is_node(button)]
    header_text = text(header.get("text")) if header.get("format", "TEXT") == "TEXT" else None
    category = words(told.get("category"), 32) or ""
    return MessageTemplate(
        name=name,
        language=language,
        category=category,
        header=header_text or None,
        body=text(body.get("text")) or "",
        footer=text(parts.get("FOOTER", {}).get("text")) or None,
        buttons=[words(button.get("text"), 64) or _kind(button) for button in buttons],
        places=[
            *_places("header", header_text or "", header),
            *_places("body", text(body.get("text")) or "", body),
            *_button_places(buttons),
        ],
        unusable=_unusable(category, parts, buttons),
    )


def _kind(part: Node) -> str:
    return (text(part.get("type")) or "").upper()


def _places(part: Any, said: str, component: Node) -> list[TemplatePlace]:
    """The places of a text, each once, in the order they are filled: by number, or as they stand."""
    names = list(dict.fromkeys(_PLACE.findall(said)))
    examples = _examples(part, component)
    are_numbers = all(name.isdecimal() for name in names)
    if are_numbers:
        names.sort(key=int)
    return [
        TemplatePlace(
            key=f"{part}.{name}",
            part=part,
            index=0,
            name=None if are_numbers else name,
            example=examples.get(name, "")[:_EXAMPLE_MAX_CHARS],
        )
        for name in names
    ]


def _examples(part: str, component: Node) -> dict[str, str]:
    """Examples by place; Meta gives numbered ones as a list, of the body as a list of lists."""
    example = node(component.get("example"))
    named = [one for one in items(example.get(f"{part}_text_named_params")) if is_node(one)]
    found = {text(one.get("param_name")) or "": text(one.get("example")) or "" for one in named}
    numbered = items(example.get(f"{part}_text"))
    if numbered and isinstance(numbered[0], list):
        numbered = numbered[0]
    return {str(n): text(one) or "" for n, one in enumerate(numbered, 1)} | found


def _button_places(buttons: list[Node]) -> list[TemplatePlace]:
    """An address has one place at most, at its end."""
    places = []
    for index, button in enumerate(buttons):
        address = text(button.get("url")) or ""
        place = _PLACE.search(address) if _kind(button) == "URL" else None
        if place is not None:
            # Meta's example is mostly the whole address, and only its end is filled in.
            example = text(next(iter(items(button.get("example"))), None)) or ""
            places.append(
                TemplatePlace(
                    key=f"button.{index}",
                    part="button",
                    index=index,
                    name=None,
                    example=example.removeprefix(address[: place.start()])[:_EXAMPLE_MAX_CHARS],
                )
            )
    return places


def _unusable(category: str, parts: dict[str, Node], buttons: list[Node]) -> str | None:
    """Why it cannot be sent from here; None if it can."""
    if category.upper() == "AUTHENTICATION":
        return "Шаблон для кодів входу: його надсилає програма, а не оператор."
    header_format = (text(parts.get("HEADER", {}).get("format")) or "TEXT").upper()
    if header_format != "TEXT":
        what = _MEDIA_HEADERS.get(header_format, header_format)
        return f"У заголовку шаблону {what}: такі шаблони звідси поки не надсилаються."
    if not (text(parts.get("BODY", {}).get("text")) or ""):
        return "Шаблон без тексту: такі шаблони звідси поки не надсилаються."
    odd_part = next((kind for kind in parts if kind not in {"HEADER", "BODY", "FOOTER", "BUTTONS"}), None)
    if odd_part is not None:
        return f"У шаблоні є частина {odd_part[:32]}: такі шаблони звідси поки не надсилаються."
    odd_button = next((_kind(button) for button in buttons if _kind(button) not in _PLAIN_BUTTONS), None)
    if odd_button is not None:
        return (
            f"У шаблоні є кнопка {odd_button[:32] or 'без виду'}: такі шаблони звідси поки не надсилаються."
        )
    return None
