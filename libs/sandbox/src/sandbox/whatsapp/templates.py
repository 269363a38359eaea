"""Message templates: what a business account has, what a send must fill in, and what the phone shows.

Source: the fact sheet, 2.3 and 2.8; Meta's pages of templates (positional and named parameters).
"""

import re
from dataclasses import dataclass, field

from sandbox.whatsapp.codes import (
    BAD_PARAMETER,
    MISSING_PARAMETER,
    NO_TEMPLATE,
    TEMPLATE_COUNT,
    TEMPLATE_DISABLED,
    TEMPLATE_FORMAT,
    TEMPLATE_PAUSED,
    GraphRefusal,
    refusal,
)

Json = dict[str, object]

MEDIA_HEADERS = ("IMAGE", "VIDEO", "DOCUMENT")
MAX_NAME_CHARS = 512
_PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
_NAME = re.compile(r"[a-z0-9_]+")
_CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")


@dataclass(slots=True)
class Template:
    """One template in one language."""

    id: str
    name: str
    language: str
    category: str
    status: str
    components: list[Json]
    parameter_format: str = "POSITIONAL"
    rejected_reason: str = "NONE"

    def told(self) -> Json:
        """As `GET …/message_templates` gives it."""
        return {
            "name": self.name,
            "parameter_format": self.parameter_format,
            "components": self.components,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "id": self.id,
        }

    def part(self, kind: str) -> Json | None:
        """Its component of this type."""
        return next((c for c in self.components if str(c.get("type", "")).upper() == kind), None)


@dataclass(slots=True)
class Filled:
    """A template with its parameters: what the phone shows."""

    template: Template
    words: dict[str, str]
    """Header, body and footer, as far as they are text."""
    header: Json | None = None
    """The media of the header, as the call gives it: {"type": "image", "image": {…}}."""
    buttons: list[Json] = field(default_factory=list)
    """{"kind": "template"|"url"|"request_contact_info", "id", "title", "url"?}"""


def first_templates(waba_id: str) -> list[Template]:
    """What every business account begins with."""
    base = int(re.sub(r"[^0-9]", "", waba_id) or "1") % 10**12 * 100
    made: list[tuple[str, str, str, str, list[Json]]] = [
        ("hello_world", "en_US", "UTILITY", "APPROVED", [_body("Welcome and congratulations!")]),
        (
            "order_update", "en_US", "UTILITY", "APPROVED",
            [_body("Your order {{1}} is on its way.", ["A-17"])],
        ),
        (
            "appointment_reminder", "uk", "UTILITY", "APPROVED",
            [
                {"type": "HEADER", "format": "TEXT", "text": "Нагадування"},
                _body("Вітаємо, {{1}}! Чекаємо на вас {{2}}.", ["Олено", "завтра о 10:00"]),
                {"type": "FOOTER", "text": "Салон «Мавка»"},
                {
                    "type": "BUTTONS",
                    "buttons": [
                        {"type": "QUICK_REPLY", "text": "Буду"},
                        {"type": "QUICK_REPLY", "text": "Перенести"},
                    ],
                },
            ],
        ),
        (
            "photo_ready", "uk", "UTILITY", "APPROVED",
            [
                {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["https://example.com/a.jpg"]}},
                _body("Ваші фото готові, {{1}}.", ["Олено"]),
                {
                    "type": "BUTTONS",
                    "buttons": [
                        {
                            "type": "URL", "text": "Переглянути", "url": "https://example.com/p/{{1}}",
                            "example": ["https://example.com/p/17"],
                        }
                    ],
                },
            ],
        ),
        ("share_phone", "uk", "UTILITY", "APPROVED",
         [
             _body("Щоб зателефонувати вам, просимо поділитися номером."),
             {"type": "BUTTONS", "buttons": [{"type": "REQUEST_CONTACT_INFO", "text": "Поділитися номером"}]},
         ]),
        ("spring_sale", "uk", "MARKETING", "PAUSED", [_body("Весняні знижки чекають на вас.")]),
        ("old_sale", "uk", "MARKETING", "DISABLED", [_body("Торішні знижки.")]),
        ("new_price", "uk", "UTILITY", "PENDING", [_body("Ціна зміниться {{1}}.", ["1 травня"])]),
    ]  # fmt: skip
    templates = [
        Template(str(base + number), name, language, category, status, components)
        for number, (name, language, category, status, components) in enumerate(made, 1)
    ]
    named = Template(
        str(base + 90), "order_ready", "uk", "UTILITY", "APPROVED",
        [{"type": "BODY", "text": "Замовлення {{number}} готове, {{name}}.",
          "example": {"body_text_named_params": [{"param_name": "number", "example": "A-17"},
                                                 {"param_name": "name", "example": "Олено"}]}}],
        "NAMED",
    )  # fmt: skip
    return [*templates, named]


def created(templates: list[Template], call: Json) -> Template:
    """A new template out of a call; it is approved at once.

    Raises:
        GraphRefusal: the call is incomplete, or the name is taken in this language.
    """
    name, language, category = call.get("name"), call.get("language"), call.get("category")
    components = call.get("components")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise GraphRefusal(BAD_PARAMETER, "name: lower case letters, digits and underscores.")
    if not isinstance(language, str) or category not in _CATEGORIES:
        raise GraphRefusal(BAD_PARAMETER, f"language and category ({', '.join(_CATEGORIES)}) are required.")
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        raise GraphRefusal(BAD_PARAMETER, "components: a list of objects is required.")
    if any(t.name == name and t.language == language for t in templates):
        raise GraphRefusal(BAD_PARAMETER, "There is already content in this language for this template.")
    number = str(max((int(t.id) for t in templates), default=0) + 1)
    parameter_format = str(call.get("parameter_format", "POSITIONAL")).upper()
    template = Template(number, name, language, str(category), "APPROVED", components, parameter_format)
    templates.append(template)
    return template


def filled(templates: list[Template], call: Json) -> Filled:
    """A template of a send, filled in.

    Raises:
        GraphRefusal: no such template, one that may not be sent, or wrong parameters.
    """
    name, language = call.get("name"), call.get("language")
    code = language.get("code") if isinstance(language, dict) else None
    if not isinstance(name, str) or not isinstance(code, str):
        raise GraphRefusal(MISSING_PARAMETER, "template: name and language.code are required.")
    template = next((t for t in templates if t.name == name and t.language == code), None)
    if template is None or template.status not in ("APPROVED", "PAUSED", "DISABLED"):
        raise GraphRefusal(NO_TEMPLATE, f"template name ({name}) does not exist in {code}")
    if template.status != "APPROVED":
        raise refusal(TEMPLATE_PAUSED if template.status == "PAUSED" else TEMPLATE_DISABLED)
    given = _given(call)
    header = template.part("HEADER")
    media: Json | None = None
    words: dict[str, str] = {}
    if header is not None and header.get("format") == "TEXT":
        words["header"] = _text("header", str(header.get("text", "")), given.get("header", []))
    elif header is not None and header.get("format") in MEDIA_HEADERS:
        media = _media_header(str(header["format"]).lower(), given.get("header", []))
    body, footer = template.part("BODY"), template.part("FOOTER")
    words["body"] = _text("body", str((body or {}).get("text", "")), given.get("body", []))
    if footer is not None:
        words["footer"] = str(footer.get("text", ""))
    return Filled(template, words, media, _buttons(template, call))


def _body(text: str, example: list[str] | None = None) -> Json:
    return {
        "type": "BODY",
        "text": text,
        **({} if example is None else {"example": {"body_text": [example]}}),
    }


def _components(call: Json) -> list[Json]:
    components = call.get("components", [])
    if not isinstance(components, list) or not all(isinstance(c, dict) for c in components):
        raise GraphRefusal(BAD_PARAMETER, "template.components must be an array of objects.")
    return components


def _given(call: Json) -> dict[str, list[Json]]:
    """Parameters by component."""
    found: dict[str, list[Json]] = {}
    for component in _components(call):
        parameters = component.get("parameters", [])
        if not isinstance(parameters, list) or not all(isinstance(p, dict) for p in parameters):
            raise GraphRefusal(BAD_PARAMETER, "parameters must be an array of objects.")
        found.setdefault(str(component.get("type", "")).lower(), []).extend(parameters)
    return found


def _text(where: str, pattern: str, parameters: list[Json]) -> str:
    places = list(dict.fromkeys(_PLACE.findall(pattern)))
    if all(place.isdecimal() for place in places):
        places.sort(key=int)  # by number, wherever they stand
    if len(parameters) != len(places):
        raise GraphRefusal(
            TEMPLATE_COUNT,
            f"{where}: number of localizable_params ({len(parameters)}) does not match the expected number "
            f"of params ({len(places)})",
        )
    values: dict[str, str] = {}
    for place, parameter in zip(places, parameters, strict=True):
        kind = parameter.get("type")
        value = parameter.get("text") if kind == "text" else None
        if isinstance(parameter.get(str(kind)), dict):
            value = parameter[str(kind)].get("fallback_value")  # type: ignore[attr-defined]
        if not isinstance(value, str) or not value or "\n" in value or "\t" in value:
            raise GraphRefusal(
                TEMPLATE_FORMAT, f"{where}: parameter text is required, without new lines and tabs"
            )
        key = parameter.get("parameter_name", place)
        values[str(key)] = value
    if set(values) != set(places):
        raise GraphRefusal(TEMPLATE_FORMAT, f"{where}: parameter_name must be one of {', '.join(places)}")
    return _PLACE.sub(lambda found: values[found.group(1)], pattern)


def _media_header(kind: str, parameters: list[Json]) -> Json:
    if len(parameters) != 1:
        raise GraphRefusal(
            TEMPLATE_FORMAT, f"header: Format mismatch, expected {kind.upper()}, received UNKNOWN"
        )
    found = parameters[0]
    if found.get("type") != kind or not isinstance(found.get(kind), dict):
        received = str(found.get("type", "UNKNOWN")).upper()
        raise GraphRefusal(
            TEMPLATE_FORMAT, f"header: Format mismatch, expected {kind.upper()}, received {received}"
        )
    return found


def _buttons(template: Template, call: Json) -> list[Json]:
    part = template.part("BUTTONS")
    buttons = [] if part is None else part.get("buttons", [])
    assert isinstance(buttons, list)
    given = {str(c.get("index")): c for c in _components(call) if str(c.get("type", "")).lower() == "button"}
    made: list[Json] = []
    for number, button in enumerate(buttons):
        parameters = given.get(str(number), {}).get("parameters", [])
        first = parameters[0] if isinstance(parameters, list) and parameters else {}
        title = str(button.get("text", ""))
        match button.get("type"):
            case "URL":
                url = str(button.get("url", ""))
                if _PLACE.search(url) and not isinstance(first.get("text"), str):
                    raise GraphRefusal(TEMPLATE_FORMAT, f"button {number}: parameter text is required")
                made.append({
                    "kind": "url", "id": title, "title": title,
                    "url": str(first.get("text")).join(_PLACE.split(url)[::2]),
                })  # fmt: skip
            case "QUICK_REPLY":
                payload = first.get("payload")
                made.append({
                    "kind": "template", "id": payload if isinstance(payload, str) else title, "title": title,
                })  # fmt: skip
            case "REQUEST_CONTACT_INFO":
                made.append({"kind": "request_contact_info", "id": title, "title": title})
            case _:
                made.append({"kind": "none", "id": title, "title": title})
    return made
