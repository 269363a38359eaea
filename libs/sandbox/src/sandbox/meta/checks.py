"""What the Send API itself checks of a message before it takes it.

Source: the fact sheet, 2.2 and 2.4 (bodies and limits). The words of the refusals are this sandbox's.
"""

from sandbox.meta.calls import as_object
from sandbox.meta.codes import bad_parameter
from sandbox.meta.state import Button, Json, Kind

MAX_TEXT_CHARS = 2000
MAX_TEXT_BYTES = 1000
MAX_QUICK_REPLIES = 13
MAX_TITLE_CHARS = 20
MAX_PAYLOAD_CHARS = 1000
MAX_TEMPLATE_TEXT_CHARS = 640
MAX_TEMPLATE_BUTTONS = 3
MAX_METADATA_CHARS = 1000
RETIRED_TAGS = frozenset({"CONFIRMED_EVENT_UPDATE", "ACCOUNT_UPDATE", "POST_PURCHASE_UPDATE"})
"""Refused since 2026-04-27. Source: the fact sheet, 0.3."""
HUMAN_AGENT = "HUMAN_AGENT"
WITH_FILE = frozenset({"image", "video", "audio", "file"})
"""Types of attachments that carry a file."""
_ACTION_KEYS = frozenset({"recipient", "sender_action", "payload"})
ACTIONS = frozenset({"typing_on", "typing_off", "mark_seen", "react", "unreact"})
"""What `sender_action` may be."""


def check_purpose(body: Json) -> str | None:
    """Which tag a message has, if any.

    Raises:
        GraphRefusal: there is no such type or tag.
    """
    kind, tag = body.get("messaging_type"), body.get("tag")
    if kind not in (None, "RESPONSE", "UPDATE", "MESSAGE_TAG"):
        raise bad_parameter("Param messaging_type must be one of {RESPONSE, UPDATE, MESSAGE_TAG}")
    if kind != "MESSAGE_TAG":
        if tag is not None:
            raise bad_parameter("The parameter tag is only allowed with messaging_type MESSAGE_TAG.")
        return None
    if tag in RETIRED_TAGS:
        raise bad_parameter(f"The message tag {tag} is no longer available.")
    if tag != HUMAN_AGENT:
        raise bad_parameter("Param tag must be one of {HUMAN_AGENT}")
    return HUMAN_AGENT


def check_action(body: Json) -> str:
    """Which sender action it is; such a call holds nothing else.

    Raises:
        GraphRefusal: there is no such action, or the call holds more.
    """
    action = body["sender_action"]
    if not isinstance(action, str) or action not in ACTIONS:
        raise bad_parameter(f"Param sender_action must be one of {{{', '.join(sorted(ACTIONS))}}}")
    more = sorted(body.keys() - _ACTION_KEYS)
    if more:
        raise bad_parameter(f"sender_action must be sent alone, without {', '.join(more)}")
    return action


def check_message(kind: Kind, message: Json) -> None:
    """A message before anything of it is done: a text or an attachment, within the limits.

    Raises:
        GraphRefusal: it would not be taken.
    """
    text, attachment = message.get("text"), message.get("attachment")
    if (text is None) == (attachment is None):
        raise bad_parameter("Param message must have exactly one of text and attachment")
    metadata = message.get("metadata")
    if metadata is not None and (not isinstance(metadata, str) or len(metadata) > MAX_METADATA_CHARS):
        raise bad_parameter(
            f"Param message[metadata] must be a string of at most {MAX_METADATA_CHARS} characters"
        )
    if text is not None:
        _check_text(kind, text)
    else:
        _check_attachment(kind, as_object(attachment, "message[attachment]"))
    quick_replies_of(kind, message)


def quick_replies_of(kind: Kind, message: Json) -> tuple[Button, ...]:
    """The quick replies under a message.

    Raises:
        GraphRefusal: they are too many or too long.
    """
    given = message.get("quick_replies")
    if given is None:
        return ()
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_QUICK_REPLIES:
        raise bad_parameter(f"Param message[quick_replies] must have 1 to {MAX_QUICK_REPLIES} elements")
    return tuple(_quick_reply(kind, as_object(one, "message[quick_replies]")) for one in given)


def buttons_of(payload: Json) -> tuple[Button, ...]:
    """The buttons of a button template.

    Raises:
        GraphRefusal: it is no such template, or over its limits.
    """
    if payload.get("template_type") != "button":
        raise bad_parameter("Param message[attachment][payload][template_type] must be button")
    _text(payload.get("text"), "text of the template", MAX_TEMPLATE_TEXT_CHARS)
    given = payload.get("buttons")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_TEMPLATE_BUTTONS:
        raise bad_parameter(f"A button template must have 1 to {MAX_TEMPLATE_BUTTONS} buttons")
    return tuple(_button(as_object(one, "buttons")) for one in given)


def _quick_reply(kind: Kind, given: Json) -> Button:
    content = given.get("content_type")
    if content in ("user_phone_number", "user_email") and kind == "facebook":
        return Button("", "", str(content))
    if content != "text":
        raise bad_parameter("Param message[quick_replies][content_type] must be text")
    title = _text(given.get("title"), "message[quick_replies][title]", MAX_TITLE_CHARS)
    return Button(
        title, _text(given.get("payload"), "message[quick_replies][payload]", MAX_PAYLOAD_CHARS), "text"
    )


def _button(given: Json) -> Button:
    title = _text(given.get("title"), "buttons[title]", MAX_TITLE_CHARS)
    match given.get("type"):
        case "postback":
            return Button(
                title, _text(given.get("payload"), "buttons[payload]", MAX_PAYLOAD_CHARS), "postback"
            )
        case "web_url":
            url = _text(given.get("url"), "buttons[url]", MAX_TEXT_CHARS)
            if not url.startswith(("http://", "https://")):
                raise bad_parameter("Param buttons[url] must be a URL")
            return Button(title, "", "web_url", url)
    raise bad_parameter("Param buttons[type] must be one of {postback, web_url}")


def _check_text(kind: Kind, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise bad_parameter("Param message[text] must be a non-empty string")
    if kind == "facebook" and len(text) > MAX_TEXT_CHARS:
        raise bad_parameter(f"Length of param message[text] must be less than or equal to {MAX_TEXT_CHARS}")
    if kind == "instagram" and len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise bad_parameter(f"Param message[text] must be at most {MAX_TEXT_BYTES} bytes of UTF-8")


def _check_attachment(kind: Kind, attachment: Json) -> None:
    sort = attachment.get("type")
    if sort == "like_heart" and kind == "instagram":
        return
    payload = as_object(attachment.get("payload"), "message[attachment][payload]")
    if sort == "template":
        buttons_of(payload)
    elif sort not in WITH_FILE:
        raise bad_parameter(
            "Param message[attachment][type] must be one of image, video, audio, file, template"
        )


def _text(given: object, name: str, limit: int) -> str:
    if not isinstance(given, str) or not given:
        raise bad_parameter(f"The parameter {name} is required.")
    if len(given) > limit:
        raise bad_parameter(f"Length of param {name} must be less than or equal to {limit}")
    return given
