"""Errors of the Graph API for pages and Instagram: code, subcode, words, HTTP status, and the body.

Source: the fact sheet, 2.8. Clients decide by code and subcode; the words are this sandbox's where the sheet
gives none, and so are the HTTP statuses but 403 of 230.
"""

import secrets
from dataclasses import dataclass

from sandbox.meta.state import Json, Kind, TokenState

TEMPORARY = 2
PERMISSION = 10
BAD_PARAMETER = 100
BAD_TOKEN = 190
NO_PERMISSION = 200
CONSENT = 230
RATE = 613
UNAVAILABLE = 551
POLICY = 368
UNKNOWN_PATH = 2500
CALLBACK_FAILED = 2200
NO_MATCH = 9010

WINDOW_CLOSED: dict[Kind, int] = {"facebook": 2018278, "instagram": 2534022}
NO_USER = 2018001
NOT_OWNER = 2018300
CANNOT_RECEIVE = 2018108
TOO_BIG = 2018109
GONE_ATTACHMENT = 2018074
NOT_FETCHED = 2018008
UPLOAD_FAILED = 2018047
PHONE_ACCOUNT = 2018218
SEND_RATE = 2534040
_TOKEN_SUBCODES: dict[TokenState, int] = {"removed": 458, "password": 460, "expired": 463, "invalid": 467}
_TOKEN_WORDS: dict[TokenState, str] = {
    "removed": "Error validating access token: The user has not authorized application.",
    "password": "Error validating access token: The session has been invalidated because the user changed "
    "their password or Facebook has changed the session for security reasons.",
    "expired": "Error validating access token: Session has expired.",
    "invalid": "Error validating access token: The session is invalid.",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What Meta says of a code."""

    words: str
    http: int = 400
    transient: bool = False


_MEANINGS = {
    0: Meaning("Authentication failed", 401),
    1: Meaning("An unknown error occurred", 500, transient=True),
    2: Meaning("An unexpected error has occurred. Please retry your request later.", 500, transient=True),
    3: Meaning("Application does not have the capability to make this API call.", 403),
    4: Meaning("Application request limit reached", transient=True),
    9: Meaning("User is performing too many actions", transient=True),
    10: Meaning("Application does not have permission for this action", 403),
    17: Meaning("User request limit reached", transient=True),
    32: Meaning("Page request limit reached", transient=True),
    100: Meaning("Invalid parameter"),
    190: Meaning("Invalid OAuth 2.0 Access Token", 401),
    200: Meaning("Permissions error", 403),
    230: Meaning("User consent is required to access user profile", 403),
    368: Meaning("The action attempted has been deemed abusive or is otherwise disallowed", 403),
    551: Meaning("This person isn't available right now."),
    613: Meaning("Calls to this api have exceeded the rate limit.", transient=True),
    1200: Meaning("Temporary send message failure. Please try again later.", 500, transient=True),
    2200: Meaning("Callback verification failed"),
    2500: Meaning("Unknown path components"),
    9010: Meaning("No matching Instagram user"),
    80002: Meaning("There have been too many calls to this Instagram account.", transient=True),
    80006: Meaning("There have been too many calls to this Messenger account.", transient=True),
}
_SUB_WORDS = {
    (10, 2018278): "This message is sent outside of allowed window.",
    (10, 2018065): "This message is sent outside of allowed window.",
    (10, 2534022): "This message is sent outside of allowed window.",
    (10, 2018108): "This Person Cannot Receive Messages: This person isn't receiving messages from you right "
    "now.",
    (10, 2018300): "Message failed to send because another app is controlling this thread now.",
    (10, 2018321): "Message failed to send because another app is controlling this thread now.",
    (10, 2534048): "Requires instagram_manage_messages permission to manage the object",
    (100, 2018001): "No matching user found",
    (100, 2018008): "Failed to fetch the file from the url",
    (100, 2018047): "Upload attachment failure.",
    (100, 2018074): "Invalid Data: the attachment id is not found or expired",
    (100, 2018109): "Attachment size exceeds allowable limit",
    (100, 2018218): "Cannot get user profile: the account was made with a phone number",
    (100, 2018294): "The video upload has timed out or the file is corrupted.",
    (200, 1545041): "Message Not Sent: This person isn't receiving messages from you right now.",
    (200, 2018028): "Cannot message users who are not admins, developers or testers of the app until "
    "pages_messaging permission is reviewed and the app is live.",
    (200, 2534048): "Requires instagram_manage_messages permission to manage the object",
    (551, 1545041): "This person isn't available right now.",
    (613, 2534040): "Too many messages were sent to this thread: try later.",
}
_UNKNOWN = Meaning("An unknown error occurred", 500)
MAX_PERMISSION_CODE = 299


def meaning(code: int) -> Meaning:
    """What stands for a code; permissions share one meaning, an unknown code is an unknown error."""
    if 200 <= code <= MAX_PERMISSION_CODE and code not in _MEANINGS:
        return _MEANINGS[200]
    return _MEANINGS.get(code, _UNKNOWN)


class GraphRefusal(Exception):
    """A refusal of the Graph API."""

    def __init__(
        self,
        code: int,
        subcode: int | None = None,
        *,
        message: str | None = None,
        http: int | None = None,
        transient: bool | None = None,
        kind: str = "OAuthException",
    ) -> None:
        """Code and subcode; what is left out is what stands for them.

        Args:
            message: without the code in front.
            kind: `type` of the body.
        """
        known = meaning(code)
        words = message or _SUB_WORDS.get((code, subcode or 0)) or known.words
        self.code = code
        self.subcode = subcode
        self.words = words
        self.message = words if code in (BAD_TOKEN, TEMPORARY, UNKNOWN_PATH) else f"(#{code}) {words}"
        self.http = http or known.http
        self.transient = known.transient if transient is None else transient
        self.kind = kind
        super().__init__(self.message)

    def body(self) -> Json:
        """The answer."""
        error: Json = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient:
            error["is_transient"] = True
        if self.subcode is not None:
            error |= {"error_user_title": self.words.partition(":")[0], "error_user_msg": self.words}
        return {"error": {**error, "fbtrace_id": f"A{secrets.token_urlsafe(16)}"}}


def bad_parameter(words: str) -> GraphRefusal:
    """A parameter that is missing or wrong."""
    return GraphRefusal(BAD_PARAMETER, message=words)


def bad_token(state: TokenState) -> GraphRefusal:
    """A token that was good once."""
    return GraphRefusal(BAD_TOKEN, _TOKEN_SUBCODES[state], message=_TOKEN_WORDS[state])


def no_such_object(object_id: str, verb: str) -> GraphRefusal:
    """An id that is not there, or that this token may not see: Graph says both at once."""
    refusal = GraphRefusal(BAD_PARAMETER, 33, kind="GraphMethodException")
    refusal.message = refusal.words = (
        f"Unsupported {verb.lower()} request. Object with ID '{object_id}' does not exist, cannot be loaded "
        "due to missing permissions, or does not support this operation."
    )
    return refusal


def window_closed(kind: Kind) -> GraphRefusal:
    """The client wrote too long ago."""
    return GraphRefusal(PERMISSION, WINDOW_CLOSED[kind])
