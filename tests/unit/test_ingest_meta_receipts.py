"""What Meta says later of our messages and of the page itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from meta_talk import ACCOUNT, AT, AT_MS, IGSID, INSTAGRAM, PSID, item, ours, parse, wrote

from msgkit.connector.contract import Account, ProviderReceipt, send_mark
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import MessageState

ENTRY_AT = AT + timedelta(milliseconds=140)
SECONDS = datetime.fromtimestamp(AT_MS // 1000, UTC)
HERE = conversation_id(ACCOUNT.channel_id, PSID)
THERE = conversation_id(INSTAGRAM.channel_id, IGSID)


def receipts(name: str, account: Account = ACCOUNT) -> list[ProviderReceipt]:
    said = parse(name, account)
    assert said.events == ()
    assert said.quarantine is None
    return list(said.receipts)


def told(state: MessageState, **more: object) -> ProviderReceipt:
    fields = {
        "conversation_id": None,
        "provider_id": None,
        "and_earlier": False,
        "failure": None,
        "contact_blocked": False,
        "happened_at": AT,
        "mark": None,
        "up_to": None,
        **more,
    }
    return ProviderReceipt(state=state, **fields)  # type: ignore[arg-type]  # as the test says them


@pytest.mark.parametrize("account", [ACCOUNT, INSTAGRAM], ids=lambda account: account.kind)
def test_own_echo_says_that_the_call_was_taken(account: Account) -> None:
    (receipt,) = receipts("echo__own", account)
    assert receipt.provider_id is not None
    assert receipt == told(MessageState.SENT, provider_id=receipt.provider_id, mark=send_mark("d" * 32, 2))


def test_delivery_names_messages_and_a_moment() -> None:
    """It has no time of its own: the webhook's is the next best."""
    assert receipts("delivery__ids_and_watermark") == [
        told(MessageState.DELIVERED, provider_id="m_out1", happened_at=ENTRY_AT),
        told(MessageState.DELIVERED, provider_id="m_out2", happened_at=ENTRY_AT),
        told(MessageState.DELIVERED, conversation_id=HERE, up_to=AT, happened_at=ENTRY_AT),
    ]


def test_watermark_alone_is_of_the_dialogue() -> None:
    assert receipts("delivery__watermark_only") == [
        told(MessageState.DELIVERED, conversation_id=HERE, up_to=AT)
    ]
    assert receipts("read__watermark") == [
        told(MessageState.READ, conversation_id=HERE, up_to=AT - timedelta(seconds=1))
    ]
    assert receipts("read__watermark_in_seconds") == [
        told(MessageState.READ, conversation_id=HERE, up_to=SECONDS)
    ]


def test_without_a_person_only_named_messages_count() -> None:
    assert receipts("delivery__ids_of_nobody") == [told(MessageState.DELIVERED, provider_id="m_out1")]
    assert receipts("delivery__watermark_of_nobody") == []


def test_instagram_names_the_last_message_that_was_read() -> None:
    (receipt,) = receipts("read__id", INSTAGRAM)
    assert receipt == told(
        MessageState.READ, conversation_id=THERE, provider_id="aWdfZAG1fOUT1", and_earlier=True
    )
    (of_nobody,) = receipts("read__id_of_nobody", INSTAGRAM)
    assert (of_nobody.conversation_id, of_nobody.and_earlier) == (None, False)


@pytest.mark.parametrize("account", [ACCOUNT, INSTAGRAM], ids=lambda account: account.kind)
def test_receipts_count_while_another_app_holds_the_thread(account: Account) -> None:
    assert [receipt.state for receipt in receipts("standby__read", account)] == [MessageState.READ]


@pytest.mark.parametrize("watermark", [0, -1, "x", None, True, 2**70, [], 1.5])
def test_a_watermark_that_is_no_time_reads_nothing(watermark: object) -> None:
    said = parse(wrote(item(read={"watermark": watermark})))
    assert (said.receipts, said.counted) == ((), ("read_of_nothing",))


def test_what_we_read_ourselves_is_no_receipt() -> None:
    said = parse(wrote(ours(read={"watermark": AT_MS})))
    assert (said.receipts, said.counted) == ((), ("read_by_us",))


@pytest.mark.parametrize(
    "metadata",
    ["", "d" * 32, f"{'D' * 32}.1", f"{'d' * 32}.x", f" {'d' * 32}.1", f"{'d' * 32}.1\n", 7, None, {"a": 1}],
)
def test_what_is_no_mark_of_ours_is_somebody_elses_message(metadata: object) -> None:
    echo = ours(message={"is_echo": True, "mid": "m_9", "text": "Так", "metadata": metadata})
    said = parse(wrote(echo))
    assert len(said.events) == 1
    assert said.receipts == ()


# --- of the page itself


@pytest.mark.parametrize(
    ("name", "is_disconnected", "says"),
    [
        ("policy__warning", False, "попереджає про порушення правил (Спам)"),
        ("policy__block", True, "заблокувала повідомлення цього каналу (Правила розсилок)"),
        ("policy__unblock", False, None),
    ],
)
def test_policy(name: str, is_disconnected: bool, says: str | None) -> None:
    (alert,) = parse(name).alerts
    assert (alert.is_disconnected, alert.happened_at) == (is_disconnected, AT)
    if says is None:
        assert alert.problem is None
    else:
        assert alert.problem is not None
        assert says in alert.problem
        assert "Підключити знову" in alert.problem


def test_an_unknown_word_of_policy_alarms_nobody() -> None:
    assert parse("policy__frown").alerts == ()
