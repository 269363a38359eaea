"""What Viber's API itself checks of a message before it takes it; the rest only the phone notices.

The API looks at fields, lengths and the schema of a keyboard. Whether media can be had, is what it says it
is, and whether a keyboard can be drawn, the phone finds out later (`handset.py`).
Source: the fact sheet, «send_message»; the words about keyboards are refusals people have published
(«keyboard is not valid. [object has missing required properties (["Type"])]», «… not found in enum …»).
"""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from sandbox.viber.state import API_VERSION, Json
from sandbox.viber.statuses import (
    API_VERSION_NOT_SUPPORTED,
    BAD_DATA,
    INCOMPATIBLE_WITH_VERSION,
    MISSING_DATA,
    ApiRefusal,
)

MAX_BODY_BYTES = 30 * 1024
"""The whole JSON of a call."""
MAX_TEXT_CHARS = 7_000
MAX_CAPTION_CHARS = 768
MAX_TRACKING_CHARS = 4_096
MAX_SENDER_CHARS = 28
MAX_URL_CHARS = 2_000
MAX_FILE_NAME_CHARS = 256
MAX_CONTACT_NAME_CHARS = 28
MAX_CONTACT_PHONE_CHARS = 18
MAX_VIDEO_BYTES = 26 * 1024 * 1024
MAX_VIDEO_SECONDS = 180
MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_ACTION_BODY_CHARS = 250
"""Characters of a button's ActionBody. Source: a published refusal, «length: 274, maximum allowed: 250»."""
RICH_MEDIA_VERSION = 7
PHONE_ACTIONS_VERSION = 3
"""`share-phone` and `location-picker` need this `min_api_version`."""

_OLD_ACTIONS = ("reply", "open-url", "none")
_PHONE_ACTIONS = ("share-phone", "location-picker")
_ENUMS = {
    "TextSize": ("small", "regular", "large"),
    "TextVAlign": ("top", "middle", "bottom"),
    "TextHAlign": ("left", "center", "right"),
}
_INPUT_STATES = ("regular", "minimized", "hidden")
_RECEIVER = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


def is_receiver_id(value: object) -> bool:
    """Whether it has the shape of a Viber user id."""
    return isinstance(value, str) and _RECEIVER.fullmatch(value) is not None


def check_message(call: Json, *, size_bytes: int, with_receiver: bool = True) -> None:
    """Everything the API checks of `send_message` or of a welcome.

    Raises:
        ApiRefusal: Viber would not take it.
    """
    if size_bytes > MAX_BODY_BYTES:
        raise ApiRefusal(BAD_DATA, "request is too big")
    if with_receiver and not call.get("receiver"):
        raise ApiRefusal(MISSING_DATA, "missing receiver")
    version = call.get("min_api_version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ApiRefusal(BAD_DATA, "min_api_version is not valid")
    if version > API_VERSION:
        raise ApiRefusal(API_VERSION_NOT_SUPPORTED)
    _check_sender(call.get("sender"))
    tracking = call.get("tracking_data", "")
    if tracking is not None and (not isinstance(tracking, str) or len(tracking) > MAX_TRACKING_CHARS):
        raise ApiRefusal(BAD_DATA, "tracking_data is not valid")
    kind = call.get("type")
    if kind is None and "keyboard" in call:
        pass  # a keyboard alone may be sent
    elif kind is None:
        raise ApiRefusal(MISSING_DATA, "missing type")
    elif not isinstance(kind, str) or kind not in _BY_TYPE:
        raise ApiRefusal(BAD_DATA, "type is not supported")
    else:
        _BY_TYPE[kind](call)
        if kind == "rich_media" and version < RICH_MEDIA_VERSION:
            raise ApiRefusal(INCOMPATIBLE_WITH_VERSION)
    if call.get("keyboard") is not None:
        _check_keyboard(call["keyboard"], version)


def _check_sender(sender: object) -> None:
    if not isinstance(sender, dict) or not isinstance(sender.get("name"), str) or not sender["name"]:
        raise ApiRefusal(MISSING_DATA, "missing sender.name")
    if len(sender["name"]) > MAX_SENDER_CHARS:
        raise ApiRefusal(BAD_DATA, "sender.name is too long")


def _text(call: Json) -> None:
    text = _needed(call, "text")
    if len(text) > MAX_TEXT_CHARS:
        raise ApiRefusal(BAD_DATA, "text is too long")


def _picture(call: Json) -> None:
    caption = call.get("text")
    if caption is None:
        raise ApiRefusal(MISSING_DATA, "missing text")
    if not isinstance(caption, str) or len(caption) > MAX_CAPTION_CHARS:
        raise ApiRefusal(BAD_DATA, "text is too long")
    _address(call, "media")


def _video(call: Json) -> None:
    _address(call, "media")
    if _number(call, "size", needed=True) > MAX_VIDEO_BYTES:
        raise ApiRefusal(BAD_DATA, "video size is too big")
    if _number(call, "duration", needed=False) > MAX_VIDEO_SECONDS:
        raise ApiRefusal(BAD_DATA, "video duration is too long")


def _file(call: Json) -> None:
    _address(call, "media")
    if _number(call, "size", needed=True) > MAX_FILE_BYTES:
        raise ApiRefusal(BAD_DATA, "file size is too big")
    name = _needed(call, "file_name")
    if len(name) > MAX_FILE_NAME_CHARS or "." not in name.strip("."):
        raise ApiRefusal(BAD_DATA, "file_name is not valid")


def _contact(call: Json) -> None:
    card = call.get("contact")
    if not isinstance(card, dict):
        raise ApiRefusal(MISSING_DATA, "missing contact")
    if len(_needed(card, "name")) > MAX_CONTACT_NAME_CHARS:
        raise ApiRefusal(BAD_DATA, "contact.name is too long")
    if len(_needed(card, "phone_number")) > MAX_CONTACT_PHONE_CHARS:
        raise ApiRefusal(BAD_DATA, "contact.phone_number is too long")


def _location(call: Json) -> None:
    place = call.get("location")
    if not isinstance(place, dict):
        raise ApiRefusal(MISSING_DATA, "missing location")
    for name, most in (("lat", 90), ("lon", 180)):
        try:
            value = float(place[name])
        except KeyError as exc:
            raise ApiRefusal(MISSING_DATA, f"missing location.{name}") from exc
        except (TypeError, ValueError) as exc:
            raise ApiRefusal(BAD_DATA, f"location.{name} is not valid") from exc
        if not -most <= value <= most:
            raise ApiRefusal(BAD_DATA, f"location.{name} is not valid")


def _sticker(call: Json) -> None:
    if not str(call.get("sticker_id") or "").isdigit():
        raise ApiRefusal(MISSING_DATA, "missing sticker_id")


def _url(call: Json) -> None:
    _address(call, "media")


def _rich_media(call: Json) -> None:
    media = call.get("rich_media")
    if not isinstance(media, dict) or not isinstance(media.get("Buttons"), list):
        raise ApiRefusal(MISSING_DATA, "missing rich_media")


_BY_TYPE: dict[str, Callable[[Json], None]] = {
    "text": _text,
    "picture": _picture,
    "video": _video,
    "file": _file,
    "contact": _contact,
    "location": _location,
    "sticker": _sticker,
    "url": _url,
    "rich_media": _rich_media,
}


def _needed(values: Json, name: str) -> str:
    value = values.get(name)
    if value is None or value == "":
        raise ApiRefusal(MISSING_DATA, f"missing {name}")
    if not isinstance(value, str):
        raise ApiRefusal(BAD_DATA, f"{name} is not valid")
    return value


def _address(call: Json, name: str) -> None:
    value = _needed(call, name)
    try:
        parts = urlsplit(value)
    except ValueError as exc:
        raise ApiRefusal(BAD_DATA, f"{name} is not valid") from exc
    if parts.scheme not in ("http", "https") or not parts.netloc or len(value) > MAX_URL_CHARS:
        raise ApiRefusal(BAD_DATA, f"{name} is not valid")


def _number(call: Json, name: str, *, needed: bool) -> int:
    value = call.get(name)
    if value is None:
        if needed:
            raise ApiRefusal(MISSING_DATA, f"missing {name}")
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ApiRefusal(BAD_DATA, f"{name} is not valid")
    return value


def _check_keyboard(keyboard: object, version: int) -> None:
    """The schema the API holds a keyboard against, with its own words."""
    if not isinstance(keyboard, dict):
        _invalid('instance type does not match any allowed primitive type (allowed: ["object"])')
        return
    missing = [name for name in ("Buttons", "Type") if name not in keyboard]
    if missing:
        _invalid(f"object has missing required properties ({_listed(missing)})")
    _enum(keyboard["Type"], ("keyboard",))
    if "InputFieldState" in keyboard:
        _enum(keyboard["InputFieldState"], _INPUT_STATES)
    buttons = keyboard["Buttons"]
    if not isinstance(buttons, list) or not buttons:
        _invalid("array is too short: must have at least 1 elements but instance has 0 elements")
        return
    actions = _OLD_ACTIONS if version < PHONE_ACTIONS_VERSION else (*_OLD_ACTIONS, *_PHONE_ACTIONS)
    for button in buttons:
        _check_button(button, actions)


def _check_button(button: object, actions: tuple[str, ...]) -> None:
    if not isinstance(button, dict):
        _invalid('instance type does not match any allowed primitive type (allowed: ["object"])')
        return
    if "ActionBody" not in button:
        _invalid(f"object has missing required properties ({_listed(['ActionBody'])})")
    for name, most in (("Columns", 6), ("Rows", 2)):
        value = button.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            _invalid(f"{name} is not a positive integer")
        elif value > most:
            _invalid(
                f"numeric instance is greater than the required maximum (maximum: {most}, found: {value})"
            )
    if "ActionType" in button:
        _enum(button["ActionType"], actions)
    for name, allowed in _ENUMS.items():
        if name in button:
            _enum(button[name], allowed)
    body = button["ActionBody"]
    if not isinstance(body, str):
        _invalid('instance type does not match any allowed primitive type (allowed: ["string"])')
    elif len(body) > MAX_ACTION_BODY_CHARS:
        _invalid(f"is too long (length: {len(body)}, maximum allowed: {MAX_ACTION_BODY_CHARS})")


def _enum(value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        found = json.dumps(value, ensure_ascii=False)
        _invalid(f"instance value ({found}) not found in enum (possible values: {_listed(allowed)})")


def _invalid(reason: str) -> None:
    raise ApiRefusal(BAD_DATA, f"keyboard is not valid. [{reason}]")


def _listed(values: list[str] | tuple[str, ...]) -> str:
    return json.dumps(values, separators=(",", ":"))
