"""What can go wrong with a messenger: a closed list, each class saying what the kit does next.

A new class needs an ADR. Texts are for people, in Ukrainian, and never carry a token, a message or a phone.
"""

from __future__ import annotations

from msgkit.contracts.words import FailureCode


class ProviderUnavailable(Exception):
    """The request certainly did not reach the messenger: tried again with a growing pause.

    Args:
        reason: for the log.
        problem: for the administrator, if he can end it: what is wrong and the one fix.
    """

    def __init__(self, reason: str, *, problem: str | None = None) -> None:
        super().__init__(reason)
        self.problem = problem


class Throttled(Exception):
    """The messenger asks to wait: the whole channel pauses, no attempt is counted.

    Args:
        retry_after_seconds: how long, at least.
        only_this_contact: the others may go on; each further refusal makes this one wait four times longer.
    """

    def __init__(self, retry_after_seconds: float, *, only_this_contact: bool = False) -> None:
        super().__init__(f"the messenger asks to wait {retry_after_seconds:g} s")
        self.retry_after_seconds = retry_after_seconds
        self.only_this_contact = only_this_contact


class RecipientUnreachable(Exception):
    """This client cannot get messages from us: final for the message.

    Args:
        blocked: the client blocked us; the conversation shows it until the client comes back.
        text: for the operator, what happened and what to do.
    """

    def __init__(self, *, blocked: bool, text: str) -> None:
        super().__init__(text)
        self.blocked = blocked
        self.text = text


class MessageRejected(Exception):
    """The messenger will never take this message: final, with a reason for the operator.

    Args:
        code: what kind of reason it is.
        text: the reason and what to do, in Ukrainian.
        is_human_agent_refused: it was refused because nobody granted the business late answers of people:
            the channel's setting `human_agent` is put off and its administrators are told.
    """

    def __init__(self, code: FailureCode, text: str, *, is_human_agent_refused: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.is_human_agent_refused = is_human_agent_refused


class CredentialsInvalid(Exception):
    """The account's credentials no longer work: the channel stops, its sends wait for new ones."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class DeliveryUnknown(Exception):
    """The message may or may not have been delivered: never repeated by itself."""


PROVIDER_ERRORS: tuple[type[Exception], ...] = (
    ProviderUnavailable,
    Throttled,
    RecipientUnreachable,
    MessageRejected,
    CredentialsInvalid,
    DeliveryUnknown,
)
"""All that a call to a messenger may raise."""


class SignatureInvalid(Exception):
    """The webhook is not from the messenger: 403, nothing is stored."""


class PayloadInvalid(Exception):
    """The webhook is authentic but unreadable: quarantined with this reason, answered 200."""
