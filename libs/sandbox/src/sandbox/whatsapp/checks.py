"""What the Cloud API itself checks of a message before it takes it.

Source: the fact sheet, 2.3 and 2.4 (bodies and limits). The words of `details` are this sandbox's.
"""

from collections.abc import Callable, Sequence

from sandbox.whatsapp.codes import (
    BAD_PARAMETER,
    BAD_VALUE,
    MISSING_PARAMETER,
    UNSUPPORTED_TYPE,
    GraphRefusal,
)
from sandbox.whatsapp.state import Button, Json

MAX_TEXT_CHARS = 4096
MAX_CAPTION_CHARS = 1024
MAX_INTERACTIVE_CHARS = 1024
MAX_HEADER_CHARS = 60
MAX_OPAQUE_CHARS = 512
MAX_BUTTONS = 3
MAX_BUTTON_CHARS = 20
MAX_BUTTON_ID_CHARS = 256
MAX_ROWS = 10
MAX_ROW_CHARS = 24
MAX_ROW_ID_CHARS = 200
MAX_DESCRIPTION_CHARS = 72
MEDIA = frozenset({"image", "video", "audio", "document", "sticker"})
"""Types that carry a file."""
WITH_CAPTION = frozenset({"image", "video", "document"})


def check_message(call: Json) -> str:
    """Check a call of `/messages`; returns its type.

    Raises:
        GraphRefusal: the API would not take it.
    """
    if call.get("recipient_type", "individual") != "individual":
        raise _bad("recipient_type must be individual")
    opaque = call.get("biz_opaque_callback_data")
    if opaque is not None and (not isinstance(opaque, str) or len(opaque) > MAX_OPAQUE_CHARS):
        raise _bad(f"biz_opaque_callback_data must be a string of at most {MAX_OPAQUE_CHARS} characters")
    kind = call.get("type", "text")
    if not isinstance(kind, str) or (kind not in _CHECKS and kind not in MEDIA):
        raise GraphRefusal(UNSUPPORTED_TYPE, f"Message type {kind} is not supported.")
    context = call.get("context")
    if context is not None:
        if not isinstance(context, dict) or not isinstance(context.get("message_id"), str):
            raise _bad("context.message_id must be a string")
        if kind == "reaction":
            raise _bad("context is not allowed in a reaction")
    content = call.get(kind)
    if kind == "contacts":
        _contacts(content)
        return kind
    if not isinstance(content, dict):
        raise _missing(kind)
    if kind in MEDIA:
        _media(kind, content)
    else:
        _CHECKS[kind](content)
    return kind


def buttons_of(interactive: Json) -> tuple[Button, ...]:
    """What can be pressed under an interactive message that was checked."""
    action = interactive.get("action")
    assert isinstance(action, dict)
    match interactive["type"]:
        case "button":
            replies = [button["reply"] for button in action["buttons"]]
            return tuple(Button(r["id"], r["title"], "button_reply") for r in replies)
        case "list":
            rows = [row for section in action["sections"] for row in section["rows"]]
            return tuple(Button(r["id"], r["title"], "list_reply", r.get("description")) for r in rows)
        case "cta_url":
            parameters = action["parameters"]
            return (Button("", parameters["display_text"], "url", url=parameters["url"]),)
    return (Button("", "Поділитися номером", "request_contact_info"),)


def words_of(interactive: Json) -> dict[str, str]:
    """The words of an interactive message: header, body, footer, as far as it has them."""
    found: dict[str, str] = {}
    for part in ("header", "body", "footer"):
        said = interactive.get(part)
        if isinstance(said, dict) and isinstance(said.get("text"), str):
            found[part] = said["text"]
    return found


def check_media_object(path: str, content: Json) -> None:
    """A file by id or by link: exactly one of them.

    Raises:
        GraphRefusal: none or both.
    """
    given, link = content.get("id"), content.get("link")
    if (given is None) == (link is None):
        raise GraphRefusal(
            BAD_PARAMETER, message=f"(#100) The parameter {path}['id'] or ['link'] is required."
        )
    if given is not None and not (isinstance(given, str | int) and str(given)):
        raise _bad(f"{path}.id must be a string")
    if link is not None and not (isinstance(link, str) and link.startswith(("http://", "https://"))):
        raise GraphRefusal(BAD_PARAMETER, message=f"(#100) Param {path}['link'] is not a valid URI.")


def _media(kind: str, content: Json) -> None:
    check_media_object(kind, content)
    caption = content.get("caption")
    if caption is not None:
        if kind not in WITH_CAPTION:
            raise _bad(f"{kind}.caption is not supported")
        _text(caption, f"{kind}['caption']", MAX_CAPTION_CHARS)
    filename = content.get("filename")
    if filename is not None and (kind != "document" or not isinstance(filename, str)):
        raise _bad(f"{kind}.filename is not supported")


def _check_text(content: Json) -> None:
    _text(content.get("body"), "text['body']", MAX_TEXT_CHARS)


def _check_location(content: Json) -> None:
    for key, high in (("latitude", 90.0), ("longitude", 180.0)):
        try:
            place = float(str(content[key]))
        except KeyError as exc:
            raise _missing(f"location['{key}']") from exc
        except ValueError as exc:
            raise _bad(f"location.{key} must be a number") from exc
        if not -high <= place <= high:
            raise _bad(f"location.{key} must be between -{high:g} and {high:g}")


def _check_reaction(content: Json) -> None:
    if not isinstance(content.get("message_id"), str) or not content["message_id"]:
        raise _missing("reaction['message_id']")
    if not isinstance(content.get("emoji"), str):
        raise _missing("reaction['emoji']")


def _check_template(content: Json) -> None:
    if not isinstance(content.get("name"), str) or not isinstance(content.get("language"), dict):
        raise _missing("template['name'] and template['language']")


def _check_interactive(content: Json) -> None:
    kind, action = content.get("type"), content.get("action")
    if kind not in ("button", "list", "cta_url", "request_contact_info"):
        raise _bad("interactive.type is not supported")
    if not isinstance(action, dict):
        raise _missing("interactive['action']")
    for part, limit in (("header", MAX_HEADER_CHARS), ("footer", MAX_HEADER_CHARS)):
        said = content.get(part)
        if isinstance(said, dict) and "text" in said:
            _text(said["text"], f"interactive['{part}']['text']", limit)
    body = content.get("body")
    _text(
        body.get("text") if isinstance(body, dict) else None,
        "interactive['body']['text']",
        MAX_INTERACTIVE_CHARS,
    )
    if kind == "button":
        _reply_buttons(action)
    elif kind == "list":
        _list(action)
    elif kind == "cta_url":
        parameters = action.get("parameters")
        if not isinstance(parameters, dict):
            raise _missing("interactive['action']['parameters']")
        _text(parameters.get("display_text"), "display_text", MAX_BUTTON_CHARS)
        _text(parameters.get("url"), "url", MAX_TEXT_CHARS)


def _reply_buttons(action: Json) -> None:
    buttons = action.get("buttons")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= MAX_BUTTONS:
        raise _bad(f"Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: {MAX_BUTTONS}")
    replies = [button.get("reply") if isinstance(button, dict) else None for button in buttons]
    _pressable(replies, "button", MAX_BUTTON_ID_CHARS, MAX_BUTTON_CHARS)


def _list(action: Json) -> None:
    _text(action.get("button"), "interactive['action']['button']", MAX_BUTTON_CHARS)
    sections = action.get("sections")
    if not isinstance(sections, list) or not sections:
        raise _missing("interactive['action']['sections']")
    rows: list[object] = []
    for section in sections:
        own = section.get("rows") if isinstance(section, dict) else None
        if not isinstance(own, list) or not own:
            raise _missing("interactive['action']['sections']['rows']")
        if len(sections) > 1:
            _text(section.get("title"), "section['title']", MAX_ROW_CHARS)
        rows += own
    if len(rows) > MAX_ROWS:
        raise _bad(f"Total row count exceed max allowed count: {MAX_ROWS}")
    _pressable(rows, "row", MAX_ROW_ID_CHARS, MAX_ROW_CHARS)
    for row in rows:
        if isinstance(row, dict) and "description" in row:
            _text(row["description"], "row['description']", MAX_DESCRIPTION_CHARS, may_be_empty=True)


def _pressable(found: Sequence[object], name: str, id_chars: int, title_chars: int) -> None:
    ids: set[str] = set()
    for one in found:
        if not isinstance(one, dict):
            raise _missing(f"{name}['id']")
        ids.add(_text(one.get("id"), f"{name}['id']", id_chars))
        _text(one.get("title"), f"{name}['title']", title_chars)
    if len(ids) < len(found):
        raise _bad(f"Duplicated {name} ids")


def _contacts(content: object) -> None:
    if not isinstance(content, list) or not content:
        raise _missing("contacts")
    for one in content:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, dict) or not isinstance(name.get("formatted_name"), str):
            raise _missing("contacts['name']['formatted_name']")
        phones = one.get("phones", [])
        if not isinstance(phones, list) or not all(isinstance(phone, dict) for phone in phones):
            raise _bad("contacts.phones must be an array of objects")


def _text(given: object, path: str, limit: int, *, may_be_empty: bool = False) -> str:
    if given is None or (given == "" and not may_be_empty):
        raise _missing(path)
    if not isinstance(given, str):
        raise _bad(f"{path} must be a string")
    if len(given) > limit:
        raise GraphRefusal(
            BAD_PARAMETER, message=f"(#100) Param {path} must be at most {limit} characters long."
        )
    return given


def _bad(details: str) -> GraphRefusal:
    return GraphRefusal(BAD_VALUE, details)


def _missing(path: str) -> GraphRefusal:
    return GraphRefusal(MISSING_PARAMETER, f"The parameter {path} is required.")


_CHECKS: dict[str, Callable[[Json], None]] = {
    "text": _check_text,
    "location": _check_location,
    "reaction": _check_reaction,
    "template": _check_template,
    "interactive": _check_interactive,
    "contacts": lambda _: None,
}
