"""Errors of the Graph API: code, title, HTTP status, and the bodies they come in.

Source: the fact sheet, 2.8, and Meta's page of error codes (May 2026): `message` is «(#code) title», the
reason stands in `error_data.details`. Clients decide by the code; titles may change.
"""

import secrets
from dataclasses import dataclass

Json = dict[str, object]

AUTH = 0
TEMPORARY = 2
PHONE_DELETED = 33
BAD_PARAMETER = 100
BAD_TOKEN = 190
CALLBACK_FAILED = 2200
THROUGHPUT = 130429
MISSING_PARAMETER = 131008
BAD_VALUE = 131009
TO_MYSELF = 131021
UNDELIVERABLE = 131026
WINDOW_CLOSED = 131047
UNSUPPORTED_TYPE = 131051
MEDIA_TOO_BIG = 131052
MEDIA_FAILED = 131053
PAIR_LIMIT = 131056
ONLY_IN_APP = 131060
NEEDS_PHONE = 131062
TEMPLATE_COUNT = 132000
NO_TEMPLATE = 132001
TEMPLATE_FORMAT = 132012
TEMPLATE_PAUSED = 132015
TEMPLATE_DISABLED = 132016
ALREADY_SYNCED = 2593107
SYNC_TOO_LATE = 2593108
HISTORY_DECLINED = 2593109

HELP = "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes"
MAX_PERMISSION_CODE = 299


@dataclass(frozen=True, slots=True)
class Meaning:
    """What Meta says of a code."""

    title: str
    details: str
    http: int = 400


MEANINGS = {
    0: Meaning("AuthException", "We were unable to authenticate the app user.", 401),
    1: Meaning("API Unknown", "Invalid request or possible server error."),
    2: Meaning("API Service", "Temporary due to downtime or due to being overloaded.", 503),
    3: Meaning("API Method", "Capability or permissions issue.", 500),
    4: Meaning("Too many calls", "The app has reached its API call rate limit."),
    10: Meaning("Permission denied", "Permission is either not granted or has been removed.", 403),
    33: Meaning("Parameter value is not valid", "The business phone number has been deleted."),
    100: Meaning("Invalid parameter", "The request included one or more unsupported parameters."),
    190: Meaning("Access token has expired", "Your access token has expired.", 401),
    200: Meaning("API Permission", "Permission is either not granted or has been removed.", 403),
    368: Meaning(
        "Temporarily blocked for policies violations",
        "The WhatsApp Business Account has been restricted or disabled for violating a platform policy.",
        403,
    ),
    2200: Meaning("Callback verification failed", "The callback did not answer the challenge."),
    80007: Meaning("Rate limit issues", "The WhatsApp Business Account has reached its rate limit."),
    130429: Meaning("Rate limit hit", "Cloud API message throughput has been reached."),
    130472: Meaning(
        "User's number is part of an experiment", "Message was not sent as part of an experiment."
    ),
    130497: Meaning(
        "Business account is restricted from messaging users in this country.",
        "The WhatsApp Business Account is restricted from messaging users in certain countries.",
        403,
    ),
    131000: Meaning("Something went wrong", "Message failed to send due to an unknown error.", 500),
    131005: Meaning("Access denied", "Permission is either not granted or has been removed.", 403),
    131008: Meaning("Required parameter is missing", "The request is missing a required parameter."),
    131009: Meaning("Parameter value is not valid", "One or more parameter values are invalid."),
    131016: Meaning("Service unavailable", "A service is temporarily unavailable.", 500),
    131021: Meaning("Recipient cannot be sender", "The recipient and sender phone number is the same."),
    131026: Meaning("Message undeliverable", "Message Undeliverable."),
    131030: Meaning(
        "Recipient phone number not in allowed list",
        "Recipient phone number not in allowed list: Add recipient phone number to recipient list and try "
        "again.",
    ),
    131031: Meaning("Account has been locked", "The account was restricted or disabled.", 403),
    131037: Meaning(
        "WhatsApp provided number needs display name approval before message can be sent.",
        "The number does not have an approved display name.",
    ),
    131042: Meaning(
        "Business eligibility payment issue", "There was an error related to your payment method."
    ),
    131045: Meaning(
        "Incorrect certificate", "Message failed to send due to a phone number registration error.", 500
    ),
    131047: Meaning(
        "Re-engagement message",
        "Message failed to send because more than 24 hours have passed since the customer last replied to "
        "this number.",
    ),
    131048: Meaning(
        "Spam rate limit hit",
        "Message failed to send because there are restrictions on how many messages can be sent from this "
        "phone number.",
    ),
    131049: Meaning(
        "Meta chose not to deliver.",
        "This message was not delivered to maintain healthy ecosystem engagement.",
    ),
    131050: Meaning(
        "User stopped marketing messages",
        "The recipient has chosen to stop receiving marketing messages from your business.",
    ),
    131051: Meaning("Message type unknown", "Message type is currently not supported."),
    131052: Meaning("Media download error", "Unable to download the media sent by the user."),
    131053: Meaning("Media upload error", "Unable to upload the media used in the message."),
    131056: Meaning(
        "(Business Account, Consumer Account) pair rate limit hit",
        "Message failed to send because there were too many messages sent from this phone number to the same "
        "phone number in a short period of time.",
    ),
    131057: Meaning("Account in maintenance mode", "Business Account is in maintenance mode.", 500),
    131060: Meaning("Message unavailable", "This message is currently unavailable."),
    131062: Meaning(
        "Business-scoped user ID recipients are not supported for this message.",
        "The message needs the recipient's phone number.",
    ),
    132000: Meaning(
        "Number of parameters does not match the expected number of params",
        "The number of parameters in the request does not match the template.",
    ),
    132001: Meaning(
        "Template name does not exist in the translation",
        "The template does not exist in the specified language or has not been approved.",
        404,
    ),
    132005: Meaning("Translated text too long", "The translated text is too long."),
    132007: Meaning("Template format character policy violated", "The template content violates a policy."),
    132012: Meaning(
        "Parameter format does not match format in the created template",
        "Variable parameter values formatted incorrectly.",
    ),
    132015: Meaning("Template is paused", "Template is paused due to low quality so it cannot be sent."),
    132016: Meaning(
        "Template is disabled",
        "Template has been paused too many times due to low quality and is now permanently disabled.",
    ),
    133004: Meaning("Server Temporarily Unavailable", "Server is temporarily unavailable.", 503),
    133010: Meaning(
        "Account not registered", "Phone number not registered on the Whatsapp Business Platform."
    ),
    135000: Meaning("Generic user error", "Message failed to send because of your request parameters."),
    2593107: Meaning(
        "Synchronization request limit exceeded",
        "The maximum number of calls to the synchronization API for this phone number has been exceeded.",
    ),
    2593108: Meaning(
        "Synchronization request made outside of allowed time window",
        "Synchronization requests can only be made within 24 hours of onboarding.",
    ),
    2593109: Meaning("History sync is turned off", "History sharing is turned off by the business"),
}
_UNKNOWN = Meaning("Something went wrong", "An unknown error has occurred.", 500)


def meaning(code: int) -> Meaning:
    """What stands for a code; permissions share one meaning, an unknown code is an unknown error."""
    if 200 <= code <= MAX_PERMISSION_CODE:
        return MEANINGS[200]
    return MEANINGS.get(code, _UNKNOWN)


class GraphRefusal(Exception):
    """A refusal of the Graph API."""

    def __init__(
        self,
        code: int,
        details: str | None = None,
        *,
        message: str | None = None,
        subcode: int | None = None,
        http: int | None = None,
        transient: bool | None = None,
        kind: str = "OAuthException",
    ) -> None:
        """Code and reason; what is left out is Meta's.

        Args:
            message: in the place of «(#code) title».
            kind: `type` of the body: `OAuthException` or `GraphMethodException`.
        """
        known = meaning(code)
        self.code = code
        self.message = message or f"(#{code}) {known.title}"
        self.details = details
        self.subcode = subcode
        self.http = http or known.http
        self.transient = transient
        self.kind = kind
        super().__init__(self.message)

    def body(self) -> Json:
        """The answer."""
        error: Json = {"message": self.message, "type": self.kind, "code": self.code}
        if self.details is not None:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        return {"error": {**error, "fbtrace_id": f"A{secrets.token_urlsafe(16)}"}}


def refusal(code: int, details: str | None = None) -> GraphRefusal:
    """A refusal with the reason Meta gives for the code."""
    return GraphRefusal(code, details or meaning(code).details)


def no_such_object(object_id: str, verb: str) -> GraphRefusal:
    """An id that is not there, or that this token may not see: Graph says both at once."""
    return GraphRefusal(
        BAD_PARAMETER,
        message=f"Unsupported {verb.lower()} request. Object with ID '{object_id}' does not exist, cannot be "
        "loaded due to missing permissions, or does not support this operation. Please read the Graph API "
        "documentation at https://developers.facebook.com/docs/graph-api",
        subcode=33,
        kind="GraphMethodException",
    )


def told(code: int, details: str | None = None) -> Json:
    """An error as webhooks carry it: in a status, a message, a value, or a chunk of history."""
    known = meaning(code)
    return {
        "code": code,
        "title": known.title,
        "message": known.title,
        "error_data": {"details": details or known.details},
        "href": HELP,
    }
