"""What an error code of WhatsApp means to us: one table for answers, statuses, messages and accounts. Pure.

A code says the same wherever it stands: in the answer to a call, in `statuses[].errors`, in
`messages[].errors`, in `value.errors`. Decided by `code`, never by words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from msgkit.connector.errors import (
    CredentialsInvalid,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.raw import Node, integer, is_node, items, node, text
from msgkit.contracts.events import Failure
from msgkit.contracts.words import FailureCode

PAIR_CODE = 131056
SPAM_CODE = 131048
MEDIA_FAILED = 131053
UNSUPPORTED_TYPE = 131051
ODD_VALUE = 131009
FILE_LOST = 131052
ONLY_IN_THE_APP = 131060
HISTORY_DECLINED = 2593109
BAD_PARAMETER = 100
NO_SUCH_OBJECT = 33
"""`error_subcode` beside code 100: an id that is not there, or that this token may not see."""
PAIR_SECONDS = 6.0
"""One message to the same client in so long. Source: fact sheet 2.7."""
PAUSE_SECONDS = 2.0
"""For a limit of the number that does not say how long to wait: throughput is counted by the second."""
HOURLY_PAUSE_SECONDS = 120.0
"""For limits counted by the hour."""
SPAM_PAUSE_SECONDS = 3600.0
"""Meta does not say how long a number is held back for spam; sending on makes it worse."""

_REASON_MAX_CHARS = 200
_SHEET = "WA/support/error-codes (fact sheet 2.8)"
_PYWA = "PYWA errors.py (fact sheet 2.8)"
_SYNC = "WA/embedded-signup (fact sheet 1.4, 2.8)"
_PRIVATE = re.compile(r"EAA[A-Za-z0-9]+|[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{6,}|\+?[0-9][0-9 ()-]{5,}[0-9]")
"""Tokens, user ids and numbers that Meta may repeat in its words."""


class Does(Enum):
    """What we do about a code."""

    WAIT = auto()
    """The whole number waits."""
    WAIT_FOR_CONTACT = auto()
    """Only this client waits."""
    RETRY = auto()
    """Temporary, and certainly not taken."""
    STOP = auto()
    """The account does not work until somebody acts."""
    UNREACHABLE = auto()
    REJECT = auto()


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One row of the table."""

    code: int
    does: Does
    meaning: str
    """In English, for the docs and the log."""
    text: str
    """For people: what happened and what to do."""
    failure: FailureCode = FailureCode.REJECTED
    pause_s: float = 0.0
    last: int | None = None
    """Of a run of codes that mean the same."""
    is_accounts: bool = False
    """The administrator must hear of it too, although the account goes on working."""
    source: str = _SHEET

    def is_of(self, code: int) -> bool:
        """Whether it stands for this code."""
        return self.code <= code <= (self.code if self.last is None else self.last)


_TAKE_ANOTHER = "Створіть новий токен системного користувача й замініть ключ каналу."
_ASK_PERMISSIONS = (
    "Токен не має прав на цей номер. Надайте системному користувачу доступ до акаунта WhatsApp з правами "
    "whatsapp_business_messaging і whatsapp_business_management та замініть ключ каналу."
)
_TEMPORARY = "WhatsApp тимчасово не працює. Надішліть повідомлення ще раз за кілька хвилин."
_FIX_MESSAGE = "WhatsApp не прийняв повідомлення через його вміст. Змініть його й надішліть ще раз."
_TEMPLATE = "WhatsApp не прийняв шаблон. Перевірте його у WhatsApp Manager або виберіть інший."
_TOO_FAST = "Номер надсилає занадто багато повідомлень. Надішліть ще раз за хвилину."
_HOURLY = "Вичерпано ліміт звернень до WhatsApp. Надішліть ще раз за годину."
_MARKETING = "WhatsApp не доставив рекламне повідомлення цьому клієнту"

CODE_TABLE: tuple[CodeRow, ...] = (
    # --- the account
    CodeRow(190, Does.STOP, "the access token is bad or has expired",
         f"WhatsApp не приймає токен доступу. {_TAKE_ANOTHER}"),
    CodeRow(0, Does.STOP, "the app user could not be authenticated",
         f"WhatsApp не розпізнав токен доступу. {_TAKE_ANOTHER}"),
    CodeRow(3, Does.STOP, "a capability or a permission is missing", _ASK_PERMISSIONS),
    CodeRow(10, Does.STOP, "a permission is not granted or was removed", _ASK_PERMISSIONS),
    CodeRow(200, Does.STOP, "a permission is not granted or was removed", _ASK_PERMISSIONS, last=299),
    CodeRow(131005, Does.STOP, "access denied", _ASK_PERMISSIONS, source=_PYWA),
    CodeRow(33, Does.STOP, "the business phone number was deleted",
         "Номер видалено з WhatsApp. Підключіть інший номер як новий канал."),
    CodeRow(368, Does.STOP, "the account is blocked for violating a policy",
         "Meta заблокувала акаунт за порушення правил. Подайте апеляцію в Business Support Home."),
    CodeRow(131031, Does.STOP, "the account is locked or restricted",
         "Акаунт WhatsApp заблоковано. Перевірте причину у WhatsApp Manager і подайте апеляцію."),
    CodeRow(131045, Does.STOP, "the number is not registered correctly (certificate)",
         "Реєстрація номера неправильна. Зареєструйте номер знову у WhatsApp Manager."),
    CodeRow(133010, Does.STOP, "the number is not registered on the platform",
         "Номер не зареєстровано в Cloud API. Зареєструйте його у WhatsApp Manager й підключіть канал."),
    CodeRow(131037, Does.STOP, "the display name of the number is not approved",
         "Назву номера не схвалено. Подайте її на схвалення у WhatsApp Manager.", source=_PYWA),
    # --- limits
    CodeRow(130429, Does.WAIT, "the throughput of the number is reached", _TOO_FAST,
         failure=FailureCode.RATE_LIMITED, pause_s=PAUSE_SECONDS),
    CodeRow(80007, Does.WAIT, "the WhatsApp Business Account has reached its rate limit", _HOURLY,
         failure=FailureCode.RATE_LIMITED, pause_s=HOURLY_PAUSE_SECONDS),
    CodeRow(4, Does.WAIT, "the app has reached its rate limit", _HOURLY,
         failure=FailureCode.RATE_LIMITED, pause_s=HOURLY_PAUSE_SECONDS),
    CodeRow(SPAM_CODE, Does.WAIT, "the number is held back because clients blocked it or reported spam",
         "WhatsApp обмежив номер: забагато скарг на спам. Перевірте якість номера у WhatsApp Manager і "
         "припиніть розсилки.",
         failure=FailureCode.RATE_LIMITED, pause_s=SPAM_PAUSE_SECONDS, is_accounts=True),
    CodeRow(PAIR_CODE, Does.WAIT_FOR_CONTACT, "too many messages to this client in a short time",
         "Забагато повідомлень цьому клієнту поспіль. Надішліть ще раз за хвилину.",
         failure=FailureCode.RATE_LIMITED, pause_s=PAIR_SECONDS),
    # --- the account, for some messages only: free ones go on, and so do those to other countries
    CodeRow(131042, Does.REJECT, "there is a problem with the payment method",
         "WhatsApp не може списати оплату. Перевірте платіжний метод у Meta Business Suite.",
         is_accounts=True),
    CodeRow(130497, Does.REJECT, "the account may not write to this country",
         "Meta заборонила акаунту писати в країну клієнта. Зверніться до підтримки Meta.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    # --- temporary
    CodeRow(1, Does.RETRY, "an unknown error, maybe of the server", _TEMPORARY),
    CodeRow(2, Does.RETRY, "the service is down or overloaded", _TEMPORARY),
    CodeRow(131000, Does.RETRY, "an unknown error", _TEMPORARY),
    CodeRow(131016, Does.RETRY, "the service is unavailable", _TEMPORARY),
    CodeRow(133004, Does.RETRY, "the server is unavailable", _TEMPORARY),
    CodeRow(131057, Does.RETRY, "the account is being upgraded, mostly under a minute", _TEMPORARY),
    # --- the client
    CodeRow(131026, Does.UNREACHABLE, "the message cannot be delivered to this client",
         "WhatsApp не може доставити повідомлення: клієнта немає у WhatsApp, він не прийняв нових умов, має "
         "стару версію або заблокував вас. Зв'яжіться з ним інакше."),
    CodeRow(131047, Does.REJECT, "more than 24 hours since the client's last message",
         "Минуло понад 24 години від останнього повідомлення клієнта. Надішліть шаблон.",
         failure=FailureCode.WINDOW_CLOSED),
    CodeRow(131062, Does.REJECT, "this message needs the client's phone number",
         "Це повідомлення можна надіслати лише на номер телефону, а клієнт його приховав. Попросіть клієнта "
         "поділитися номером або виберіть інший шаблон.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    CodeRow(131030, Does.REJECT, "a test number may write to its list of recipients only",
         "Тестовий номер пише лише на номери зі свого списку. Додайте номер клієнта в налаштуваннях "
         "застосунку Meta або підключіть справжній номер.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    CodeRow(131021, Does.REJECT, "the recipient is the sender",
         "Це номер самого салону: написати собі не можна. Виберіть іншого клієнта."),
    CodeRow(131049, Does.REJECT, "Meta chose not to deliver this marketing message",
         f"{_MARKETING}: він отримав забагато реклами. Спробуйте не раніше ніж за добу.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    CodeRow(130472, Does.REJECT, "the client is part of an experiment and gets no marketing messages",
         f"{_MARKETING}: він в експерименті Meta. Дочекайтеся, доки клієнт напише.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    CodeRow(131050, Does.REJECT, "the client does not want marketing messages of this business",
         f"{_MARKETING}: він відмовився від вашої реклами. Не надсилайте йому рекламних шаблонів.",
         failure=FailureCode.RECIPIENT_UNAVAILABLE),
    # --- the message
    CodeRow(UNSUPPORTED_TYPE, Does.REJECT, "the type of the message is not supported",
         "WhatsApp не підтримує такого повідомлення. Надішліть його текстом або файлом.",
         failure=FailureCode.UNSUPPORTED_KIND),
    CodeRow(FILE_LOST, Does.REJECT, "the client's file cannot be downloaded, e.g. above 100 MB",
         "Файл клієнта не вдалося завантажити: він більший за 100 МБ або вже недоступний. Попросіть "
         "надіслати його ще раз або меншим.",
         failure=FailureCode.FILE_TOO_BIG),
    CodeRow(MEDIA_FAILED, Does.REJECT, "the file of the message could not be used",
         "WhatsApp не зміг узяти файл. Збережіть його в іншому форматі (JPEG, PNG, MP4, PDF) і надішліть.",
         failure=FailureCode.UNSUPPORTED_KIND),
    CodeRow(BAD_PARAMETER, Does.REJECT, "a parameter is not valid", _FIX_MESSAGE),
    CodeRow(131008, Does.REJECT, "a required parameter is missing", _FIX_MESSAGE),
    CodeRow(ODD_VALUE, Does.REJECT, "the value of a parameter is not valid", _FIX_MESSAGE),
    CodeRow(135000, Does.REJECT, "the message failed because of its parameters", _FIX_MESSAGE, source=_PYWA),
    CodeRow(132000, Does.REJECT, "the number of the template's values is wrong",
         "У шаблоні заповнено не стільки полів, скільки треба. Виберіть шаблон знову й заповніть усі."),
    CodeRow(132001, Does.REJECT, "there is no such approved template in this language",
         "Такого шаблону цією мовою немає або його ще не схвалено. Виберіть інший."),
    CodeRow(132005, Does.REJECT, "the filled-in template is too long",
         "Заповнений шаблон задовгий. Скоротіть значення полів.", failure=FailureCode.TOO_LONG),
    CodeRow(132007, Does.REJECT, "the template violates a policy",
         "Вміст шаблону порушує правила WhatsApp. Виправте його у WhatsApp Manager."),
    CodeRow(132012, Does.REJECT, "a value of the template has the wrong format",
         "Значення поля не підходить до шаблону. Приберіть нові рядки й зайві пробіли або виберіть інший."),
    CodeRow(132015, Does.REJECT, "the template is paused for low quality",
         "Meta призупинила цей шаблон через низьку якість. Виберіть інший."),
    CodeRow(132016, Does.REJECT, "the template is disabled for low quality",
         "Meta вимкнула цей шаблон назавжди. Виберіть або створіть інший."),
    CodeRow(132000, Does.REJECT, "another fault of a template", _TEMPLATE, last=132016),
    # --- webhooks and set-up
    CodeRow(ONLY_IN_THE_APP, Does.REJECT, "the message exists only in the WhatsApp Business app",
         "Це повідомлення видно лише в застосунку WhatsApp Business. Відкрийте його на телефоні салону.",
         failure=FailureCode.UNSUPPORTED_KIND),
    CodeRow(2200, Does.REJECT, "the callback did not pass the handshake",
         "WhatsApp не зміг перевірити адресу вебхука. Потрібна публічна https-адреса з чинним сертифікатом: "
         "перевірте проксі й підключіть канал знову.", source="SANDBOX codes (Meta's override callback)"),
    CodeRow(2593107, Does.REJECT, "contacts or history were synchronised already",
         "Контакти або історію вже синхронізовано: удруге WhatsApp їх не віддає. Щоб повторити, відключіть "
         "номер у застосунку WhatsApp Business і підключіть знову.", source=_SYNC),
    CodeRow(2593108, Does.REJECT, "more than 24 hours since onboarding",
         "Минуло понад 24 години від підключення: історія вже недоступна. Щоб отримати її, відключіть "
         "номер у застосунку WhatsApp Business і підключіть знову.", source=_SYNC),
    CodeRow(HISTORY_DECLINED, Does.REJECT, "the business declined to share its history",
         "Власник номера не дозволив ділитися історією. Дозвольте це в застосунку WhatsApp Business під час "
         "наступного підключення.", source=_SYNC),
)  # fmt: skip
"""The first row with a code counts."""


def row_of(code: int | None) -> CodeRow | None:
    """What a code means; None for one we do not know."""
    return None if code is None else next((row for row in CODE_TABLE if row.is_of(code)), None)


def to_failure(errors: object) -> Failure:
    """Why a message did not arrive, of `statuses[].errors`.

    Args:
        errors: whatever stands there; the first element with a code counts.

    Source: fact sheet 1.4, 2.8.
    """
    found = _first(errors)
    row = row_of(integer(found.get("code")))
    if row is None:
        is_temporary = found.get("is_transient") is True
        return Failure(
            code=FailureCode.TEMPORARY if is_temporary else FailureCode.REJECTED,
            text=_unheard_of(found, "WhatsApp не доставив повідомлення"),
        )
    code = {
        Does.STOP: FailureCode.CHANNEL_DISCONNECTED,
        Does.RETRY: FailureCode.TEMPORARY,
        Does.UNREACHABLE: FailureCode.RECIPIENT_UNAVAILABLE,
    }.get(row.does, row.failure)
    return Failure(code=code, text=row.text)


def to_problem(errors: object) -> str | None:
    """What is wrong with the account and the one fix, of any list of errors; None if it is not the account.

    Source: fact sheet 2.8.
    """
    for found in items(errors):
        row = row_of(integer(node(found).get("code")))
        if row is not None and (row.does is Does.STOP or row.is_accounts):
            return row.text
    return None


def to_reason(errors: object) -> str | None:
    """For the operator: why a client's message is not shown, of `messages[].errors`; None if not said.

    Source: fact sheet 1.4.
    """
    code = integer(_first(errors).get("code"))
    if code == UNSUPPORTED_TYPE:
        return "WhatsApp не передає таких повідомлень. Попросіть клієнта надіслати текстом або файлом."
    row = row_of(code)
    # What the other codes say to people is about messages of ours.
    return row.text if row is not None and row.code in {FILE_LOST, ONLY_IN_THE_APP} else None


def to_error(error: Node) -> Exception:
    """What a refusal means that the Graph API answered.

    Args:
        error: `error` of the answer.

    Returns:
        One of the errors of `msgkit.connector.errors`.

    Source: fact sheet 2.8.
    """
    code = integer(error.get("code"))
    row = row_of(code)
    is_transient = error.get("is_transient") is True
    if code == BAD_PARAMETER and integer(error.get("error_subcode")) == NO_SUCH_OBJECT:
        return CredentialsInvalid(
            "WhatsApp не знаходить цього номера або акаунта за вашим токеном. Перевірте phone_number_id, "
            "waba_id і доступ системного користувача до акаунта."
        )
    if row is None or (is_transient and row.does is Does.REJECT):
        if is_transient:
            return ProviderUnavailable(f"a temporary refusal, code {code}")
        return MessageRejected(FailureCode.REJECTED, _unheard_of(error, "WhatsApp відхилив запит"))
    return _error_of(row, error)


def _error_of(row: CodeRow, error: Node) -> Exception:
    match row.does:
        case Does.WAIT:
            return Throttled(row.pause_s)
        case Does.WAIT_FOR_CONTACT:
            return Throttled(row.pause_s, only_this_contact=True)
        case Does.RETRY:
            return ProviderUnavailable(f"{row.meaning}, code {integer(error.get('code'))}")
        case Does.STOP:
            return CredentialsInvalid(row.text)
        case Does.UNREACHABLE:
            return RecipientUnreachable(blocked=False, text=row.text)
        case Does.REJECT:
            said = readable(node(error.get("error_data")).get("details"))
            has_place = row.text == _FIX_MESSAGE and said
            return MessageRejected(row.failure, f"{row.text} ({said})" if has_place else row.text)


def readable(said: object) -> str:
    """Meta's words without what must not be shown: tokens, user ids, numbers of phones."""
    plain = " ".join((text(said) or "").encode("utf-8", "replace").decode().split())
    return _PRIVATE.sub("…", plain)[:_REASON_MAX_CHARS]


def _first(errors: object) -> Node:
    coded = [found for found in items(errors) if is_node(found)]
    return next(
        (found for found in coded if integer(found.get("code")) is not None), node(next(iter(coded), None))
    )


def _unheard_of(error: Node, what: str) -> str:
    code = integer(error.get("code"))
    said = readable(node(error.get("error_data")).get("details")) or readable(error.get("title"))
    named = "без коду" if code is None else f"код {code}"
    return f"{what} ({named}{f', {said}' if said else ''}). Змініть повідомлення або надішліть його ще раз."
