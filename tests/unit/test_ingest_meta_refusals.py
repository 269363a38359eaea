"""Every row of the fact sheet's table of errors, and what we do about errors nobody has told of."""

from __future__ import annotations

from typing import Any

import pytest

from ingest_meta.refusals import CODE_TABLE, Does, beside, of_account, readable, row_of, to_error
from msgkit.connector.errors import (
    CredentialsInvalid,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.words import FailureCode


def error(code: int | None, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    return {"message": "(#1) Why.", "code": code, "error_subcode": subcode, **more}


SHEET: list[tuple[int, int | None, Does, FailureCode | None]] = [
    *((190, subcode, Does.STOP, None) for subcode in (None, 458, 460, 463, 467, 1)),
    *((code, None, Does.STOP, None) for code in (0, 3, 10, 200, 230, 250, 299)),
    (10, 7, Does.STOP, None),
    (10, 2018278, Does.CLOSED, FailureCode.WINDOW_CLOSED),
    (10, 2018065, Does.CLOSED, FailureCode.WINDOW_CLOSED),
    (10, 2534022, Does.CLOSED, FailureCode.WINDOW_CLOSED),
    (200, 1545041, Does.UNREACHABLE, None),
    (551, 1545041, Does.UNREACHABLE, None),
    (551, None, Does.UNREACHABLE, None),
    (10, 2018108, Does.UNREACHABLE, None),
    (10, 2018300, Does.TAKE_CONTROL, None),
    (10, 2018321, Does.TAKE_CONTROL, None),
    (200, 2018028, Does.REJECT, FailureCode.RECIPIENT_UNAVAILABLE),
    (200, 2534048, Does.REJECT, FailureCode.RECIPIENT_UNAVAILABLE),
    (10, 2534048, Does.REJECT, FailureCode.RECIPIENT_UNAVAILABLE),
    (100, 2018001, Does.UNREACHABLE, None),
    (100, 33, Does.UNREACHABLE, None),
    (100, 2018109, Does.REJECT, FailureCode.FILE_TOO_BIG),
    *((100, subcode, Does.UPLOAD_AGAIN, None) for subcode in (2018074, 2018008, 2018047, 2018294)),
    *((code, None, Does.UPLOAD_AGAIN, None) for code in (2018074, 2018008, 2018047, 2018294)),
    (100, None, Does.REJECT, FailureCode.REJECTED),
    *((code, None, Does.RETRY, None) for code in (1, 2, 1200)),
    *((code, None, Does.WAIT, None) for code in (4, 9, 17, 32, 613, 80006, 80002)),
    (613, 2534040, Does.WAIT, None),
    (368, None, Does.STOP, None),
    (9010, None, Does.UNKNOWN_PROFILE, None),
    (2018218, None, Does.UNKNOWN_PROFILE, None),
    (100, 2018218, Does.UNKNOWN_PROFILE, None),
]
CLASSES: dict[Does, type[Exception]] = {
    Does.WAIT: Throttled,
    Does.RETRY: ProviderUnavailable,
    Does.STOP: CredentialsInvalid,
    Does.UNREACHABLE: RecipientUnreachable,
}


@pytest.mark.parametrize(("code", "subcode", "does", "failure"), SHEET)
def test_each_row_of_the_sheet(
    code: int, subcode: int | None, does: Does, failure: FailureCode | None
) -> None:
    told = error(code, subcode)
    row = row_of(told)
    assert row is not None
    assert row.does is does
    found = to_error(told)
    assert type(found) is CLASSES.get(does, MessageRejected)
    if failure is not None:
        assert isinstance(found, MessageRejected)
        assert found.code is failure


def test_each_row_has_a_source_words_and_a_way_out() -> None:
    for row in CODE_TABLE:
        assert "fact sheet 2.8" in row.source
        assert row.meaning.isascii()
        assert row.text.endswith(".")
        assert len(row.text) > 40


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (error(987654), MessageRejected),
        (error(None), MessageRejected),
        (error(987654, is_transient=True), ProviderUnavailable),
        (error(100, is_transient=True), ProviderUnavailable),
        (error(190, is_transient=True), CredentialsInvalid),
        ({"code": "551"}, RecipientUnreachable),
        ({}, MessageRejected),
    ],
)
def test_what_nobody_told_of(told: dict[str, Any], expected: type[Exception]) -> None:
    assert type(to_error(told)) is expected


def test_metas_own_words_are_shown_without_what_is_private() -> None:
    told = error(
        987654, error_user_title="Не вийшло", error_user_msg="Токен EAAGabc, IGAAx_y, +380 67 123 45 67"
    )
    found = to_error(told)
    assert isinstance(found, MessageRejected)
    assert "Не вийшло: Токен …, …, …" in found.text
    assert "987654" in found.text
    assert readable(error(1, message="a\ud83d\n b" * 500)) == readable(error(1, message="a? b" * 500))
    assert len(readable(error(1, message="x" * 9999))) == 200


def test_an_id_that_is_not_there_is_the_clients_in_a_send_and_ours_in_a_look() -> None:
    assert isinstance(to_error(error(100, 33)), RecipientUnreachable)
    assert isinstance(of_account(error(100, 33)), CredentialsInvalid)
    assert isinstance(of_account(error(100)), MessageRejected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(10, MessageRejected), (200, MessageRejected), (3, MessageRejected), (190, CredentialsInvalid),
     (0, CredentialsInvalid), (368, CredentialsInvalid), (4, Throttled), (2, ProviderUnavailable)],
)  # fmt: skip
def test_a_permission_that_is_missing_beside_sending_costs_that_alone(
    code: int, expected: type[Exception]
) -> None:
    assert type(beside(error(code), "Не вийшло.")) is expected
