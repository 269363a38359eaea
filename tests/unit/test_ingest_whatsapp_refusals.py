"""Every code of the fact sheet's table means the same wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from ingest_whatsapp.refusals import CODE_TABLE, row_of, to_error, to_failure, to_problem, to_reason
from msgkit.connector.errors import (
    CredentialsInvalid,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.words import FailureCode

STOPS = (190, 0, 3, 10, 200, 250, 299, 131031, 131045, 133010, 33, 368, 131005, 131037)
WAITS = (130429, 80007, 4, 131048)
RETRIES = (1, 2, 131000, 131016, 133004, 131057)
REJECTS = {
    131047: FailureCode.WINDOW_CLOSED,
    131049: FailureCode.RECIPIENT_UNAVAILABLE,
    130472: FailureCode.RECIPIENT_UNAVAILABLE,
    131050: FailureCode.RECIPIENT_UNAVAILABLE,
    131030: FailureCode.RECIPIENT_UNAVAILABLE,
    131062: FailureCode.RECIPIENT_UNAVAILABLE,
    130497: FailureCode.RECIPIENT_UNAVAILABLE,
    131051: FailureCode.UNSUPPORTED_KIND,
    131052: FailureCode.FILE_TOO_BIG,
    131053: FailureCode.UNSUPPORTED_KIND,
    131060: FailureCode.UNSUPPORTED_KIND,
    132005: FailureCode.TOO_LONG,
    **dict.fromkeys(
        (100, 131008, 131009, 131021, 131042, 135000, 132000, 132001, 132004, 132007, 132012, 132015, 132016),
        FailureCode.REJECTED,
    ),
    **dict.fromkeys((2200, 2593107, 2593108, 2593109), FailureCode.REJECTED),
}


def error(code: object, **more: Any) -> dict[str, Any]:
    return {"message": f"(#{code}) Something", "type": "OAuthException", "code": code, **more}


def told(code: object) -> list[dict[str, Any]]:
    """As webhooks carry it."""
    return [{"code": code, "title": "Something", "message": "Something", "error_data": {"details": "Why."}}]


def test_every_row_is_listed_here_and_names_its_source() -> None:
    listed = {*STOPS, *WAITS, *RETRIES, *REJECTS, 131026, 131056}
    assert {row.code for row in CODE_TABLE} <= listed
    assert all(row.source and row.meaning for row in CODE_TABLE)


def test_every_text_says_what_to_do() -> None:
    for row in CODE_TABLE:
        assert len(row.text.removesuffix(".").split(". ")) > 1 or ":" in row.text, row.text


@pytest.mark.parametrize("code", STOPS)
def test_what_is_wrong_with_the_account_stops_it(code: int) -> None:
    found = to_error(error(code))
    assert isinstance(found, CredentialsInvalid)
    assert to_failure(told(code)).code is FailureCode.CHANNEL_DISCONNECTED
    assert to_problem(told(code)) == found.text


@pytest.mark.parametrize("code", WAITS)
def test_limits_of_the_number_pause_all_of_it(code: int) -> None:
    found = to_error(error(code))
    assert isinstance(found, Throttled)
    assert not found.only_this_contact
    assert found.retry_after_seconds > 0
    assert to_failure(told(code)).code is FailureCode.RATE_LIMITED


def test_limit_of_a_pair_pauses_that_client_alone() -> None:
    found = to_error(error(131056))
    assert isinstance(found, Throttled)
    assert found.only_this_contact
    assert to_failure(told(131056)).code is FailureCode.RATE_LIMITED


def test_spam_and_payment_are_problems_of_the_account_too() -> None:
    assert "спам" in (to_problem(told(131048)) or "")
    assert "оплату" in (to_problem(told(131042)) or "")
    assert to_problem(told(130497)) is None
    assert to_problem(told(130429)) is None
    assert to_problem([]) is None
    assert to_problem(None) is None


@pytest.mark.parametrize("code", RETRIES)
def test_temporary_ones_are_tried_again(code: int) -> None:
    assert isinstance(to_error(error(code)), ProviderUnavailable)
    assert to_failure(told(code)).code is FailureCode.TEMPORARY


def test_undeliverable_is_the_client_and_never_said_to_be_a_block() -> None:
    found = to_error(error(131026))
    assert isinstance(found, RecipientUnreachable)
    assert not found.blocked
    assert to_failure(told(131026)).code is FailureCode.RECIPIENT_UNAVAILABLE


@pytest.mark.parametrize(("code", "failure"), REJECTS.items())
def test_what_is_wrong_with_the_message_is_final(code: int, failure: FailureCode) -> None:
    found = to_error(error(code))
    assert isinstance(found, MessageRejected)
    assert (found.code, to_failure(told(code)).code) == (failure, failure)
    assert to_failure(told(code)).text in found.text


def test_every_code_of_templates_means_something() -> None:
    assert all(row_of(code) is not None for code in range(132000, 132017))


@pytest.mark.parametrize("code", ["131047", 131047])
def test_code_may_be_written_as_text(code: object) -> None:
    assert to_failure(told(code)).code is FailureCode.WINDOW_CLOSED


def test_transient_is_tried_again_unless_the_table_knows_better() -> None:
    assert isinstance(to_error(error(99999, is_transient=True)), ProviderUnavailable)
    assert isinstance(to_error(error(131009, is_transient=True)), ProviderUnavailable)
    assert isinstance(to_error(error(190, is_transient=True)), CredentialsInvalid)
    assert to_failure([{"code": 99999, "is_transient": True}]).code is FailureCode.TEMPORARY


def test_id_that_the_token_may_not_see_is_a_fault_of_the_set_up() -> None:
    found = to_error(error(100, error_subcode=33))
    assert isinstance(found, CredentialsInvalid)
    assert "phone_number_id" in found.text


def test_unheard_of_code_is_named_with_its_details() -> None:
    found = to_error(error(424242, error_data={"details": "The moon is in the wrong house."}))
    assert isinstance(found, MessageRejected)
    assert "424242" in found.text
    assert "moon" in found.text


@pytest.mark.parametrize(
    "secret",
    ["EAAGplainNumberToken0123456789", "+380 67 123-45-67", "380671234567", "US.13491208655302741918"],
)
def test_details_give_nothing_private_away(secret: str) -> None:
    for code in (131009, 424242):
        found = to_error(error(code, error_data={"details": f"Param to {secret} is wrong"}))
        assert isinstance(found, MessageRejected)
        assert secret not in found.text
        assert "is wrong" in found.text


@pytest.mark.parametrize(
    "errors",
    [None, [], {}, "x", [None], [{}], [{"code": None}], [{"code": "x"}], [{"code": 1.5}], [[]], 0,
     [{"code": True, "error_data": []}], [{"code": 10**30}]],
)  # fmt: skip
def test_anything_may_stand_where_errors_do(errors: object) -> None:
    assert to_failure(errors).text
    assert to_problem(errors) is None
    to_reason(errors)


def test_first_element_with_a_code_counts() -> None:
    assert to_failure([None, {"title": "?"}, *told(131047)]).code is FailureCode.WINDOW_CLOSED


def test_reasons_of_placeholders_speak_of_the_client_not_of_us() -> None:
    assert "не передає" in (to_reason(told(131051)) or "")
    assert "100 МБ" in (to_reason(told(131052)) or "")
    assert "Business" in (to_reason(told(131060)) or "")
    assert to_reason(told(987654)) is None
    # «Send it again in some minutes» is for us, and the client sent it.
    assert to_reason(told(131000)) is None
