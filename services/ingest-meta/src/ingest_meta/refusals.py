"""What an error of Meta's means to us, by code and subcode: one table for all calls. Pure.

Decided by `code` and `error_subcode`, never by words. Source: fact sheet 2.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from msgkit.connector.errors import (
    CredentialsInvalid,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.raw import Node, integer, text
from msgkit.contracts.words import FailureCode

BAD_PARAMETER: Final = 100
NO_SUCH_OBJECT: Final = 33
"""`error_subcode` beside code 100: an id that is not there, or that this token may not see."""
PAUSE_SECONDS: Final = 2.0
"""For a limit that does not say how long to wait and is counted by the second."""
HOURLY_PAUSE_SECONDS: Final = 120.0
"""For limits counted by the hour or the day."""

_REASON_MAX_CHARS = 200
_OF_THE_ACCOUNT = frozenset({0, 190, 368})
"""Whatever was asked for: nothing works."""
_MP_ERR = "MP-ERR (fact sheet 2.8)"
_IGTS = "IGTS (fact sheet 2.8)"
_PROJECTS = "subcodes seen by several projects (fact sheet 2.8)"
_PRIVATE = re.compile(r"(?:EAA|IGAA|IGQ)[A-Za-z0-9_-]+|\+?[0-9][0-9 ()-]{5,}[0-9]")
"""Tokens, ids of people and numbers that Meta may repeat in its words."""


class Does(Enum):
    """What we do about an error."""

    WAIT = auto()
    """The whole account waits."""
    RETRY = auto()
    """Temporary, and certainly not taken."""
    STOP = auto()
    """The account does not work until somebody acts."""
    CLOSED = auto()
    """Outside the reply window."""
    UNREACHABLE = auto()
    TAKE_CONTROL = auto()
    """Another app owns the thread: we take it and say it once more."""
    UPLOAD_AGAIN = auto()
    """The file of the message: once more, from a new upload."""
    UNKNOWN_PROFILE = auto()
    """Of a person's profile alone: it is not told."""
    REJECT = auto()


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One row of the table."""

    code: int | None
    """None: whatever the code is, for subcodes that come with several."""
    does: Does
    meaning: str
    """In English, for the docs and the log."""
    text: str
    """For people: what happened and what to do."""
    subcodes: tuple[int, ...] = ()
    """Empty: whatever the subcode is."""
    failure: FailureCode = FailureCode.REJECTED
    pause_s: float = 0.0
    last: int | None = None
    """Of a run of codes that mean the same."""
    source: str = _MP_ERR

    def is_of(self, code: int | None, subcode: int | None) -> bool:
        """Whether it stands for this error."""
        if self.subcodes and subcode not in self.subcodes:
            return False
        if self.code is None:
            return True
        return code is not None and self.code <= code <= (self.code if self.last is None else self.last)


_RENEW = "Отримайте новий токен і замініть ключ каналу."
_ASK_PERMISSIONS = (
    "Застосунок Meta не має прав на цей акаунт. Надайте права pages_messaging (Instagram: "
    "instagram_manage_messages, і в Instagram → Налаштування → Повідомлення → Підключені інструменти "
    "увімкніть «Дозволити доступ до повідомлень») та замініть токен каналу."
)
_TEMPORARY = "Meta тимчасово не працює. Надішліть повідомлення ще раз за кілька хвилин."
_TOO_FAST = "Забагато звернень до Meta. Надішліть ще раз за кілька хвилин."
_CLOSED = (
    "Минув час для відповіді, який дає Meta: 24 години від останнього повідомлення клієнта, операторам із "
    "дозволом Human Agent 7 днів. Дочекайтеся, доки він напише, або зв'яжіться з ним інакше."
)
_AWAY = (
    "Клієнт не отримує повідомлень: заблокував вас, вимкнув повідомлення або видалив акаунт. Зв'яжіться з "
    "ним інакше."
)
OTHERS_THREAD: Final = (
    "Розмову з клієнтом веде інший застосунок, і він її не віддає. Зробіть наш застосунок основним у "
    "налаштуваннях сторінки: Meta Business Suite → Маршрутизація розмов."
)
_FILE = "Meta не змогла взяти файл. Збережіть його в іншому форматі (JPEG, PNG, MP4, PDF) і надішліть."
_TESTERS = (
    "Застосунок Meta пише лише своїм тестувальникам: йому бракує Advanced Access. Завершіть App Review або "
    "додайте клієнта до ролей застосунку."
)
_NOT_THERE = "Meta не знає цього клієнта на вашій сторінці. Дочекайтеся, доки він напише знову."
_FIX_MESSAGE = "Meta не прийняла повідомлення через його вміст. Змініть його й надішліть ще раз."
_NO_PROFILE = "Профіль цього клієнта недоступний: запитайте ім'я в розмові."

CODE_TABLE: tuple[CodeRow, ...] = (
    # --- by subcode; these stand before their codes alone
    CodeRow(190, Does.STOP, "the app was removed by the account",
         f"Власник відключив застосунок від акаунта. Підключіть його знову. {_RENEW}", (458,)),
    CodeRow(190, Does.STOP, "the password was changed",
         f"Пароль власника змінено, тому токен більше не діє. {_RENEW}", (460,), source=_IGTS),
    CodeRow(190, Does.STOP, "the token has expired",
         f"Строк дії токена закінчився. {_RENEW}", (463,), source=_IGTS),
    CodeRow(190, Does.STOP, "the token is invalid", f"Токен більше не діє. {_RENEW}", (467,)),
    CodeRow(10, Does.CLOSED, "outside the allowed window (Messenger)", _CLOSED, (2018278, 2018065),
         failure=FailureCode.WINDOW_CLOSED),
    CodeRow(10, Does.CLOSED, "outside the allowed window (Instagram)", _CLOSED, (2534022,),
         failure=FailureCode.WINDOW_CLOSED),
    CodeRow(None, Does.UNREACHABLE, "the window is closed, or the person gets no messages; Meta says both",
         "Повідомлення не дійшло: минув час для відповіді (24 години від останнього повідомлення клієнта) "
         "або клієнт не отримує повідомлень. Дочекайтеся, доки він напише.", (1545041,)),
    CodeRow(10, Does.UNREACHABLE, "this person cannot receive messages", _AWAY, (2018108,)),
    CodeRow(10, Does.TAKE_CONTROL, "another app controls the thread",
         OTHERS_THREAD, (2018300, 2018321), source=_PROJECTS),
    CodeRow(None, Does.REJECT, "the app lacks Advanced Access, the person has no role in it", _TESTERS,
         (2018028, 2534048), failure=FailureCode.RECIPIENT_UNAVAILABLE, source=_PROJECTS),
    CodeRow(BAD_PARAMETER, Does.UNREACHABLE, "no such person for this page", _NOT_THERE,
         (2018001, NO_SUCH_OBJECT)),
    CodeRow(None, Does.REJECT, "the attachment is too big",
         "Файл завеликий для Meta. Зменште його або надішліть посилання.", (2018109,),
         failure=FailureCode.FILE_TOO_BIG, source=_PROJECTS),
    CodeRow(None, Does.UPLOAD_AGAIN, "the attachment id is gone, or the file was not taken", _FILE,
         (2018074, 2018008, 2018047, 2018294), failure=FailureCode.UNSUPPORTED_KIND, source=_PROJECTS),
    CodeRow(None, Does.UNKNOWN_PROFILE, "the account was made with a phone number", _NO_PROFILE, (2018218,)),
    CodeRow(613, Does.WAIT, "too many calls (Instagram)", _TOO_FAST, (2534040,),
         failure=FailureCode.RATE_LIMITED, pause_s=PAUSE_SECONDS, source=_PROJECTS),
    # --- the account
    CodeRow(190, Does.STOP, "the access token is bad", f"Meta не приймає токен доступу. {_RENEW}"),
    CodeRow(368, Does.STOP, "blocked for violating a policy",
         "Meta заблокувала акаунт за порушення правил. Подайте апеляцію в Business Support Home."),
    CodeRow(0, Does.STOP, "the token could not be authenticated",
         f"Meta не розпізнала токен доступу. {_RENEW}"),
    CodeRow(3, Does.STOP, "the app lacks a capability", _ASK_PERMISSIONS),
    CodeRow(10, Does.STOP, "a permission is not granted", _ASK_PERMISSIONS),
    CodeRow(230, Does.STOP, "a permission is not granted; for a profile: the person did not consent",
         _ASK_PERMISSIONS),
    CodeRow(200, Does.STOP, "a permission is not granted", _ASK_PERMISSIONS, last=299),
    # --- the person
    CodeRow(551, Does.UNREACHABLE, "the person is not available", _AWAY),
    CodeRow(9010, Does.UNKNOWN_PROFILE, "no matching user", _NO_PROFILE, source="IG-PROF (fact sheet 2.8)"),
    CodeRow(2018218, Does.UNKNOWN_PROFILE, "the account was made with a phone number", _NO_PROFILE),
    # --- limits
    *(CodeRow(code, Does.WAIT, "a limit of calls is reached", _TOO_FAST, failure=FailureCode.RATE_LIMITED,
           pause_s=HOURLY_PAUSE_SECONDS)
      for code in (4, 17, 32, 80002, 80006)),
    *(CodeRow(code, Does.WAIT, "too many calls in a short time", _TOO_FAST, failure=FailureCode.RATE_LIMITED,
           pause_s=PAUSE_SECONDS)
      for code in (9, 613)),
    # --- temporary
    *(CodeRow(code, Does.RETRY, "temporary", _TEMPORARY, failure=FailureCode.TEMPORARY)
      for code in (1, 2, 1200)),
    # --- the message
    *(CodeRow(code, Does.UPLOAD_AGAIN, "the attachment id is gone, or the file was not taken", _FILE,
           failure=FailureCode.UNSUPPORTED_KIND, source=_PROJECTS)
      for code in (2018074, 2018008, 2018047, 2018294)),
    CodeRow(2018109, Does.REJECT, "the attachment is too big",
         "Файл завеликий для Meta. Зменште його або надішліть посилання.",
         failure=FailureCode.FILE_TOO_BIG, source=_PROJECTS),
    CodeRow(BAD_PARAMETER, Does.REJECT, "a parameter is not valid, or a retired message tag", _FIX_MESSAGE),
)  # fmt: skip
"""The first row of an error counts."""


def row_of(error: Node) -> CodeRow | None:
    """What an error means; None for one we do not know."""
    code, subcode = integer(error.get("code")), integer(error.get("error_subcode"))
    return next((row for row in CODE_TABLE if row.is_of(code, subcode)), None)


def to_error(error: Node) -> Exception:
    """What a refusal means that the Graph API answered.

    Args:
        error: `error` of the answer.

    Returns:
        One of the errors of `msgkit.connector.errors`.
    """
    row = row_of(error)
    code = integer(error.get("code"))
    is_transient = error.get("is_transient") is True
    if row is None or (is_transient and row.does is Does.REJECT):
        if is_transient:
            return ProviderUnavailable(f"a temporary refusal, code {code}")
        return MessageRejected(FailureCode.REJECTED, _unheard_of(error))
    return _error_of(row, error)


def _error_of(row: CodeRow, error: Node) -> Exception:
    match row.does:
        case Does.WAIT:
            return Throttled(row.pause_s)
        case Does.RETRY:
            return ProviderUnavailable(f"{row.meaning}, code {integer(error.get('code'))}")
        case Does.STOP:
            return CredentialsInvalid(row.text)
        case Does.UNREACHABLE:
            return RecipientUnreachable(blocked=False, text=row.text)
    said = readable(error)
    return MessageRejected(
        row.failure, f"{row.text} ({said})" if row.text == _FIX_MESSAGE and said else row.text
    )


def of_account(error: Node) -> Exception:
    """What a refusal of a question about the account itself means: an id that is not there is a wrong one."""
    is_nobody = integer(error.get("code")) == BAD_PARAMETER and (
        integer(error.get("error_subcode")) == NO_SUCH_OBJECT
    )
    if is_nobody:
        return CredentialsInvalid(
            "Meta не знаходить цієї сторінки або акаунта за вашим токеном. Перевірте page_id і те, що токен "
            "видано саме для неї, та замініть ключ каналу."
        )
    return to_error(error)


def beside(error: Node, text: str) -> Exception:
    """What a refusal of something beside sending means: a permission it lacks costs that alone.

    Args:
        error: `error` of the answer.
        text: what to say instead of stopping the account.
    """
    refused = to_error(error)
    if isinstance(refused, CredentialsInvalid) and integer(error.get("code")) not in _OF_THE_ACCOUNT:
        return MessageRejected(FailureCode.REJECTED, text)
    return refused


def readable(error: Node) -> str:
    """Meta's own title and words of an error, without tokens, ids of people, numbers of phones."""
    told = [text(error.get(key)) for key in ("error_user_title", "error_user_msg")]
    said = ": ".join(filter(None, told)) or text(error.get("message")) or ""
    plain = " ".join(said.encode("utf-8", "replace").decode().split())
    return _PRIVATE.sub("…", plain)[:_REASON_MAX_CHARS]


def _unheard_of(error: Node) -> str:
    code = integer(error.get("code"))
    said = readable(error)
    named = "без коду" if code is None else f"код {code}"
    why = f"{named}, {said}" if said else named
    return f"Meta відхилила запит ({why}). Змініть повідомлення або надішліть ще раз."
