"""`reply_markup`: what Telegram accepts as a keyboard, and the words it refuses the rest with.

Source: open Bot API server (`get_reply_markup`); the limits of data and addresses are the Bot API's.
"""

import ipaddress
from urllib.parse import urlsplit

from sandbox.telegram.params import ApiError, Params
from sandbox.telegram.payloads import Json

MAX_CALLBACK_DATA_BYTES = 64
"""UTF-8 bytes. Source: Bot API, InlineKeyboardButton."""
MAX_INLINE_BUTTONS = 100
"""Buttons of one message. Source: Bot API server's answer to more."""
_FLAGS = {
    "resize_keyboard": "ReplyKeyboardMarkup",
    "one_time_keyboard": "ReplyKeyboardMarkup",
    "is_persistent": "ReplyKeyboardMarkup",
    "remove_keyboard": "ReplyKeyboardRemove",
    "force_reply": "reply markup",
    "selective": "reply markup",
}


def keyboard(params: Params) -> Json | None:
    """The keyboard of a call. With both kinds given the reply keyboard wins, as with Telegram.

    Raises:
        ApiError: Telegram would refuse it.
    """
    markup = params.nested("reply_markup", "reply keyboard markup")
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise ApiError(400, "Bad Request: object expected as reply markup")
    for flag, owner in _FLAGS.items():
        if flag in markup and not isinstance(markup[flag], bool):
            raise ApiError(400, f'Bad Request: field "{flag}" of the {owner} must be of the type Boolean')
    reply = _rows(markup, "keyboard", "ReplyKeyboardMarkup")
    inline = _rows(markup, "inline_keyboard", "InlineKeyboardMarkup")
    # A reply button may be a bare string; Telegram makes a button of it.
    reply = [[{"text": button} if isinstance(button, str) else button for button in row] for row in reply]
    for button in (button for row in reply for button in row):
        _check_text(button, "keyboard")
    buttons = [button for row in inline for button in row]
    for button in buttons:
        _check_inline(button)
    if len(buttons) > MAX_INLINE_BUTTONS:
        raise ApiError(400, "Bad Request: REPLY_MARKUP_TOO_LONG")
    if any(reply):
        return {
            key: value for key, value in {**markup, "keyboard": reply}.items() if key != "inline_keyboard"
        }
    if "inline_keyboard" in markup:
        return {"inline_keyboard": inline}
    return None if "keyboard" in markup else markup


def inline_only(params: Params) -> Json | None:
    """The keyboard of an edit: inline, or none.

    Raises:
        ApiError: it is of another kind, or Telegram would refuse it.
    """
    found = keyboard(params)
    if found is not None and "inline_keyboard" not in found:
        raise ApiError(400, "Bad Request: inline keyboard expected")
    return found if found is not None and found["inline_keyboard"] else None


def _rows(markup: Json, key: str, owner: str) -> list[list[object]]:
    rows = markup.get(key)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise ApiError(400, f'Bad Request: field "{key}" of the {owner} must be an Array')
    if not all(isinstance(row, list) for row in rows):
        raise ApiError(400, f'Bad Request: field "{key}" of the {owner} must be an Array of Arrays')
    return rows


def _check_text(button: object, where: str) -> Json:
    if not isinstance(button, dict):
        raise ApiError(400, f"Bad Request: can't parse {where} button: Button must be an Object")
    text = button.get("text")
    if text is None:
        raise ApiError(400, f"Bad Request: can't parse {where} button: Can't find field \"text\"")
    if not isinstance(text, str):
        raise ApiError(400, f'Bad Request: can\'t parse {where} button: Field "text" must be of type String')
    if not text.strip():
        raise ApiError(400, f"Bad Request: {where} button text must be non-empty")
    return button


def _check_inline(given: object) -> None:
    button = _check_text(given, "inline keyboard")
    url, data = button.get("url"), button.get("callback_data")
    if url is not None:
        reason = _wrong_url(str(url))
        if reason is not None:
            raise ApiError(400, f"Bad Request: inline keyboard button URL '{url}' is invalid: {reason}")
        return
    if data is not None:
        if not 1 <= len(str(data).encode()) <= MAX_CALLBACK_DATA_BYTES:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
        return
    if not any(key in button for key in ("web_app", "copy_text", "login_url", "switch_inline_query", "pay")):
        text = "Text buttons are unallowed in the inline keyboard"
        raise ApiError(400, f"Bad Request: can't parse inline keyboard button: {text}")


def _wrong_url(url: str) -> str | None:
    """Why Telegram does not take an address for a button, in its words; without a scheme it is http."""
    scheme, mark, rest = url.partition("://")
    if mark and scheme.lower() in ("tg", "ton"):
        return None
    if mark and scheme.lower() not in ("http", "https"):
        return "Unsupported URL protocol"
    try:
        host = urlsplit(f"http://{rest if mark else url}").hostname
    except ValueError:
        return "Wrong HTTP URL"
    if not host:
        return "URL host is empty"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None if "." in host.strip(".") and " " not in host else "Wrong HTTP URL"
    return None
