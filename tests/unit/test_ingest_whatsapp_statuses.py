"""Statuses become receipts, and what Meta says of the account becomes an alert with the one fix."""

from __future__ import annotations

from dataclasses import replace

import pytest
from whatsapp_talk import ACCOUNT, AT, AT_SECONDS, BY_PHONE, OURS, WABA, envelope, parse, value

from msgkit.contracts.words import FailureCode, MessageState


@pytest.mark.parametrize(
    ("name", "state", "after_s"),
    [
        ("sent", MessageState.SENT, 60),
        ("delivered_to_a_user_id", MessageState.DELIVERED, 61),
        ("read", MessageState.READ, 60),
        ("played", MessageState.READ, 60),
        ("failed_window", MessageState.FAILED, 60),
        ("numbers_as_numbers", MessageState.DELIVERED, 62),
    ],
)
def test_a_status_is_a_receipt_of_the_channel(name: str, state: MessageState, after_s: int) -> None:
    parsed = parse(f"status__{name}")
    assert parsed.events == ()
    (receipt,) = parsed.receipts
    assert (receipt.provider_id, receipt.state) == ("wamid.HBgMMzgwOUT1", state)
    assert receipt.happened_at.timestamp() == AT_SECONDS + after_s
    # Their ids are unique, and each message is told by itself.
    assert (receipt.conversation_id, receipt.and_earlier, receipt.contact_blocked) == (None, False, False)
    assert (receipt.failure is None) == (state is not MessageState.FAILED)


def test_a_failed_one_says_why() -> None:
    (closed,) = parse("status__failed_window").receipts
    assert closed.failure is not None
    assert closed.failure.code is FailureCode.WINDOW_CLOSED
    assert "шаблон" in closed.failure.text
    (silent,) = parse("status__failed_without_errors").receipts
    assert silent.failure is not None
    assert silent.failure.code is FailureCode.REJECTED
    assert silent.failure.text


def told(mark: object) -> dict[str, object]:
    status = {"id": "wamid.1", "status": "sent", "timestamp": "1", "biz_opaque_callback_data": mark}
    return envelope(("messages", value(statuses=[status])))


@pytest.mark.parametrize(
    ("mark", "kept"),
    [
        ("d" * 32 + ".0", True),
        ("another's", True),
        (None, False),
        ("", False),
        (7, False),
        ([], False),
        ({}, False),
        ("x" * 513, False),
    ],
)
def test_the_mark_of_our_call_comes_back(mark: object, kept: bool) -> None:
    assert [receipt.mark for receipt in parse(told(mark)).receipts] == [mark if kept else None]


def test_a_whole_batch_of_statuses_is_told_and_an_odd_one_costs_no_other() -> None:
    good = [{"id": f"wamid.{n}", "status": "read", "timestamp": "1"} for n in range(1000)]
    parsed = parse(envelope(("messages", value(statuses=[*good[:500], None, "x", *good[500:]]))))
    assert [receipt.provider_id for receipt in parsed.receipts] == [f"wamid.{n}" for n in range(1000)]
    assert parsed.quarantine == "a status that is no object"


# --- the account


@pytest.mark.parametrize(
    ("name", "is_disconnected", "words"),
    [
        ("partner_removed", True, "від'єднав наш застосунок. Надайте доступ знову"),
        ("offboarded", True, "Номер від'єднано"),
        ("banned", True, "вимкнула акаунт WhatsApp Business. Подайте апеляцію"),
        ("ban_to_come", False, "вимкне акаунт WhatsApp Business (до December 9, 2026). Перевірте"),
        ("violation", False, "порушення правил WhatsApp (SCAM). Перевірте"),
        ("restricted", False, "не можна писати першими (шаблони) (до 2026-12-12). Перевірте"),
        ("errors", False, "Перевірте платіжний метод"),
    ],
)
def test_what_is_wrong_with_the_account_is_told_with_its_fix(
    name: str, is_disconnected: bool, words: str
) -> None:
    (alert,) = parse(f"account__{name}").alerts
    assert alert.problem is not None
    assert words in alert.problem
    assert (alert.is_disconnected, alert.happened_at) == (is_disconnected, AT)


@pytest.mark.parametrize(
    "name", ["partner_removed", "offboarded", "banned", "ban_to_come", "violation", "restricted", "errors"]
)
def test_an_alert_that_meta_never_takes_back_says_what_ends_it(name: str) -> None:
    (alert,) = parse(f"account__{name}").alerts
    # The words of the window's button.
    assert "«Підключити знову»" in (alert.problem or "")


def test_what_happens_to_another_number_of_the_account_is_none_of_this_ones() -> None:
    own = replace(ACCOUNT, also_known_as=(f"waba:{WABA}", f"number:{OURS}"))
    other = replace(ACCOUNT, also_known_as=(f"waba:{WABA}", "number:380441112233"))
    assert len(parse("account__partner_removed", own).alerts) == 1
    thrown_out = parse("account__partner_removed", other)
    assert (thrown_out.alerts, thrown_out.counted) == ((), ("other_account",))
    # What names no number is about all of them.
    assert len(parse("account__banned", other).alerts) == 1


@pytest.mark.parametrize("name", ["reconnected", "ban_lifted"])
def test_all_is_well_again(name: str) -> None:
    (alert,) = parse(f"account__{name}").alerts
    assert (alert.problem, alert.is_disconnected) == (None, False)


@pytest.mark.parametrize(
    "name", ["location_set", "quality", "template_approved", "errors_passing", "of_another_waba"]
)
def test_what_nobody_must_act_on_is_only_counted(name: str) -> None:
    parsed = parse(f"account__{name}")
    assert (parsed.alerts, parsed.events, parsed.quarantine) == ((), (), None)
    assert parsed.counted


def test_errors_beside_a_message_are_the_messages() -> None:
    assert parse("message__interactive_without_body").alerts == ()
    assert BY_PHONE in parse("message__interactive_without_body").people[0].ids
