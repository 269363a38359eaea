"""Scripted faults: which answer or webhook goes wrong, how, how often; the same seed, the same faults."""

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ApiFaultKind = Literal["429", "500", "502", "hang", "accept_then_drop", "reset"]
ViberFaultKind = Literal["status", "slow", "fails_later"]
WhatsAppFaultKind = Literal["error", "statuses"]
MetaFaultKind = Literal["usage"]
WebhookFaultKind = Literal["duplicate", "reorder", "late", "batch"]
FileFaultKind = Literal["vanished", "drip", "wrong_type", "wrong_length", "oversize", "cut"]
API_FAULTS: frozenset[str] = frozenset({"429", "500", "502", "hang", "accept_then_drop", "reset"})
WEBHOOK_FAULTS: frozenset[str] = frozenset({"duplicate", "reorder", "late"})
VIBER_FAULTS: frozenset[str] = API_FAULTS | {"status", "slow", "fails_later"}
"""What may happen to a call of Viber's API."""
WHATSAPP_FAULTS: frozenset[str] = API_FAULTS | {"error", "statuses", "slow", "fails_later"}
"""What may happen to a call of WhatsApp's API."""
META_FAULTS: frozenset[str] = API_FAULTS | {"error", "slow", "usage"}
"""What may happen to a call of Messenger's and Instagram's API."""
FILE_FAULTS: frozenset[str] = frozenset({"vanished", "drip", "wrong_type", "wrong_length", "oversize", "cut"})
_IMPLIED_KINDS = {"status": "status", "statuses": "statuses", "code": "error"}
"""A key that only one kind has says the kind."""
DOWNLOAD = "file"
"""What stands in `method` for the download of a file."""


class Fault(BaseModel):
    """One rule. Everything left out matches everything.

    API answers: `429` with `retry_after`; `500`; `502` with a proxy's HTML page; `hang` holds the request for
    `seconds` and closes it without an answer (`accepted`: the message is shown on the phone first);
    `accept_then_drop` shows the message, then closes the connection without an answer; `reset` breaks the
    connection before anything is done.
    Webhooks: `duplicate` sends an update again after it was answered with 2xx, as if the answer had been
    lost; `late` holds an update, and with it its chat, for `seconds`; `reorder` holds a chat for a random
    time up to `seconds`, so that chats overtake each other as with Telegram. `hostile` reorders inside
    one chat, which Telegram never does: the update lets the next one go first, waiting at most `seconds`.
    Downloads of files (`/file/bot…`): `vanished` is 404; `drip` sends `bytes_per_s` bytes a second;
    `wrong_type` says `content_type`; `wrong_length` announces `bytes` as the length and sends the file, cut
    to it, then closes; `oversize` sends `bytes` bytes without telling a length; `cut` breaks the connection
    in the middle.
    The API faults hit downloads only with `method: "file"`.
    Viber alone, beside these: `{"status": 12, "status_message"?: "…"}` answers HTTP 200 with that status and
    does nothing (the kind may be left out); `slow` does everything at once and answers after `seconds`, so
    that a receipt can come before its answer; `fails_later` takes the message, and the phone then cannot show
    it (`desc`: what the callback says of it; Viber mostly says nothing).
    WhatsApp alone, beside these (`slow` too): `{"code": 131056, "details"?: "…"}` refuses with Meta's body of
    that code and does nothing (kind `error`; `http_status`, `subcode`, `transient` change the body);
    `fails_later` takes the message, which then fails with `code`; `{"statuses": ["delivered", "sent"]}` tells
    these of the message, in this order, in the place of `sent` and `delivered`; `batch` gathers webhooks for
    `seconds` or until there are `size`, and sends them in one POST of the given `shape`: `messages` (one
    change), `changes` (one entry), `entries`, or `mixed`. Methods: messages, read, media, media_url,
    delete_media, message_templates, subscribed_apps, phone_number, smb_app_data, debug_token.
    Messenger and Instagram, beside these: `{"code": 10, "subcode"?: 2018278, …}` and `slow` (the echo comes
    before the answer) and `batch` as with WhatsApp; `usage` lets the call pass and says in
    `X-Business-Use-Case-Usage` that `percent` of what is allowed is used, and with `minutes` that nothing is
    for so long; `minutes` goes with a refusal too. Methods: messages, typing_on, typing_off, mark_seen,
    react, unreact, message_attachments, subscribed_apps, debug_token, refresh_access_token, object, profile,
    conversations, conversation, message, take_thread_control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: ApiFaultKind | WebhookFaultKind | FileFaultKind | ViberFaultKind | WhatsAppFaultKind | MetaFaultKind
    channel_id: str | None = None
    client: str | None = None
    method: str | None = Field(None, description="API method in any case, or file; API faults only")
    event: str | None = Field(None, description="Kind of the update or callback; webhook faults only")
    after: int = Field(0, ge=0, description="The first matches go through untouched")
    count: int | None = Field(
        None, ge=1, description="Ends after so many; None: until the faults are replaced"
    )
    probability: float = Field(1.0, gt=0.0, le=1.0)
    retry_after: int = Field(1, ge=1, le=3600, description="Seconds, for 429")
    seconds: float = Field(1.0, ge=0.0, le=3600.0, description="For hang, late, reorder")
    status: int = Field(12, ge=1, le=9999, description="For status")
    status_message: str | None = Field(None, description="For status; left out: Viber's own words")
    desc: str | None = Field(None, description="For fails_later")
    code: int = Field(131026, ge=0, description="For error and fails_later: Meta's code")
    details: str | None = Field(None, description="For error; left out: Meta's own words")
    http_status: int | None = Field(None, ge=400, le=599, description="For error; left out: the code's own")
    subcode: int | None = Field(None, description="For error")
    transient: bool | None = Field(None, description="For error: `is_transient`")
    percent: int = Field(100, ge=0, le=200, description="For usage: `call_count`")
    minutes: int = Field(0, ge=0, le=1440, description="For usage and error: time to regain access")
    statuses: tuple[Literal["sent", "delivered", "read", "played"], ...] = Field(
        (), description="For statuses: what is told of the message, in this order"
    )
    size: int = Field(100, ge=1, le=10_000, description="For batch: so many updates go together")
    shape: Literal["mixed", "messages", "changes", "entries"] = Field("mixed", description="For batch")
    accepted: bool = Field(False, description="For hang: show the message before the silence")
    hostile: bool = Field(False, description="For reorder: inside one chat")
    bytes_per_s: int = Field(1000, ge=1, description="For drip")
    content_type: str = Field("text/html", min_length=1, max_length=127, description="For wrong_type")
    size_bytes: int = Field(
        1, alias="bytes", ge=0, le=1 << 31, description="For wrong_length and oversize: how many bytes"
    )

    @model_validator(mode="before")
    @classmethod
    def _some_keys_are_kinds(cls, data: object) -> object:
        if not isinstance(data, dict) or "kind" in data:
            return data
        implied = next((kind for key, kind in _IMPLIED_KINDS.items() if key in data), None)
        return data if implied is None else {**data, "kind": implied}


class Faults(BaseModel):
    """Body of `PUT /control/faults`; it replaces all faults, an empty list ends them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    fired: int = 0


@dataclass(frozen=True, slots=True)
class WebhookFaults:
    """What shall happen to one update."""

    hold_seconds: float = 0.0
    swap_seconds: float = 0.0
    duplicate: bool = False
    names: str | None = None


UNTOUCHED = WebhookFaults()


class FaultPlan:
    """The faults in force."""

    def __init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311  # repeatable on purpose
        self._armed: list[_Armed] = []
        self.seed = 0

    def replace(self, faults: Faults) -> None:
        """Put `faults` in the place of all earlier ones and start the dice anew."""
        self.seed = faults.seed
        self._random = random.Random(faults.seed)  # noqa: S311  # repeatable on purpose
        self._armed = [_Armed(fault) for fault in faults.faults]

    def state(self) -> list[dict[str, object]]:
        """The faults with how often each has fired."""
        return [
            {
                **armed.fault.model_dump(exclude_defaults=True, by_alias=True),
                "kind": armed.fault.kind,
                "fired": armed.fired,
            }
            for armed in self._armed
        ]

    def for_call(
        self, method: str, channel_id: str | None, client: str | None, kinds: Container[str] = API_FAULTS
    ) -> Fault | None:
        """The first API fault that fires for this call, of those the messenger knows."""
        for armed in self._armed:
            fault = armed.fault
            if fault.kind not in kinds or not _matches(fault, channel_id, client):
                continue
            if fault.method is not None and fault.method.lower() != method.lower():
                continue
            if self._fires(armed):
                return fault
        return None

    def for_download(self, channel_id: str | None, client: str | None) -> Fault | None:
        """The first fault that fires for the download of a file of this client."""
        for armed in self._armed:
            fault = armed.fault
            meant = fault.kind in FILE_FAULTS or (fault.kind in API_FAULTS and fault.method == DOWNLOAD)
            if meant and _matches(fault, channel_id, client) and self._fires(armed):
                return fault
        return None

    def for_update(self, channel_id: str | None, client: str, event: str) -> WebhookFaults:
        """All webhook faults that fire for this update, joined; `event` is its kind."""
        fired: list[Fault] = []
        for armed in self._armed:
            fault = armed.fault
            meant = fault.kind in WEBHOOK_FAULTS and fault.event in (None, event)
            if meant and _matches(fault, channel_id, client) and self._fires(armed):
                fired.append(fault)
        if not fired:
            return UNTOUCHED
        return WebhookFaults(
            hold_seconds=sum(self._hold(fault) for fault in fired),
            swap_seconds=max((f.seconds for f in fired if f.kind == "reorder" and f.hostile), default=0.0),
            duplicate=any(fault.kind == "duplicate" for fault in fired),
            names="+".join(_names(fired)),
        )

    def for_batch(self, channel_id: str | None, client: str, event: str) -> Fault | None:
        """The batch this update begins or joins."""
        for armed in self._armed:
            fault = armed.fault
            meant = fault.kind == "batch" and fault.event in (None, event)
            if meant and _matches(fault, channel_id, client) and self._fires(armed):
                return fault
        return None

    def _hold(self, fault: Fault) -> float:
        if fault.kind == "late":
            return fault.seconds
        if fault.kind == "reorder" and not fault.hostile:
            return self._random.uniform(0.0, fault.seconds)
        return 0.0

    def _fires(self, armed: _Armed) -> bool:
        fault = armed.fault
        if fault.count is not None and armed.fired >= fault.count:
            return False
        armed.seen += 1
        if armed.seen <= fault.after:
            return False
        if fault.probability < 1.0 and self._random.random() >= fault.probability:
            return False
        armed.fired += 1
        return True


def _matches(fault: Fault, channel_id: str | None, client: str | None) -> bool:
    return (fault.channel_id is None or fault.channel_id == channel_id) and (
        fault.client is None or fault.client == client
    )


def _names(faults: Sequence[Fault]) -> list[str]:
    return [fault.kind for fault in faults]
