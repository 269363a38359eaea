"""Our answers become sendMessage calls: split by Telegram's limit, in its unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_telegram.outbound import split_text, to_requests
from ingest_telegram.payloads import TEXT_MAX_UNITS
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.events import OutboundButton, SendMessage
from msgkit.contracts.words import AuthorKind, FailureCode


def order(text: str, **more: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "type": "send.ordered.v1",
        "event_id": "e",
        "tenant_id": "salon",
        "channel_id": "c",
        "channel_kind": "telegram_bot",
        "recorded_at": datetime(2026, 11, 21, tzinfo=UTC),
        "conversation_id": "v",
        "contact_key": "6021557731",
        "message_id": "m",
        "out_seq": 1,
        "author_kind": AuthorKind.OPERATOR,
        "text": text,
        "buttons": [],
        "reply_to_provider_id": None,
    }
    return SendMessage(**{**fields, **more})


def button(action: str, value: str = "v") -> OutboundButton:
    return OutboundButton.model_validate({"text": action, "action": action, "value": value})


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_short_text_is_one_call_without_markup() -> None:
    (call,) = to_requests(order("*Добрий* _день_ <b>"))
    assert (call.chat_id, call.text, call.reply_markup) == (6021557731, "*Добрий* _день_ <b>", None)


def test_limit_counts_utf16_units() -> None:
    assert split_text("ї" * TEXT_MAX_UNITS) == ["ї" * TEXT_MAX_UNITS], "Cyrillic is one unit a letter"
    assert [units(part) for part in split_text("👋" * TEXT_MAX_UNITS)] == [TEXT_MAX_UNITS, TEXT_MAX_UNITS]
    assert [units(part) for part in split_text("a" + "👋" * 2048)] == [4095, 2], "a pair is not cut"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("один два\n\nтри", ["один два", "три"]),
        ("один а\nбв три", ["один а", "бв три"]),
        ("один два три", ["один два", "три"]),
        ("одинодинодин", ["одинодинод", "ин"]),
        ("десятьлітр x", ["десятьлітр", "x"]),
        ("  з країв  ", ["з країв"]),
        ("а\n\n\n\n\n\n\n\n\n\n\n\nб", ["а", "б"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_cut_is_at_the_best_border(text: str, parts: list[str]) -> None:
    assert split_text(text, max_units=10) == parts


@given(st.text(alphabet="ab їє\n\t👋💇🏽", max_size=300), st.integers(min_value=2, max_value=40))
def test_parts_fit_are_never_empty_and_keep_every_visible_character(text: str, max_units: int) -> None:
    parts = split_text(text, max_units)
    assert all(part and part == part.strip() and units(part) <= max_units for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_buttons_stand_on_the_last_part_and_the_reply_mark_on_the_first() -> None:
    calls = to_requests(
        order("а " * 4096, buttons=[[button("reply"), button("share_phone")]], reply_to_provider_id="41")
    )
    assert len(calls) == 2
    assert [call.reply_to_message_id for call in calls] == [41, None]
    assert calls[0].reply_markup is None
    assert calls[1].reply_markup == {
        "keyboard": [[{"text": "reply"}, {"text": "share_phone", "request_contact": True}]],
        "resize_keyboard": True,
        "one_time_keyboard": True,
    }


def test_inline_buttons() -> None:
    (call,) = to_requests(order("?", buttons=[[button("callback", "c:1"), button("url", "https://a.ua")]]))
    assert call.reply_markup == {
        "inline_keyboard": [
            [{"text": "callback", "callback_data": "c:1"}, {"text": "url", "url": "https://a.ua"}]
        ]
    }


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (order("\n \n"), FailureCode.REJECTED),
        (order("x", contact_key="@olena"), FailureCode.RECIPIENT_UNAVAILABLE),
        (order("x", buttons=[[button("reply"), button("url")]]), FailureCode.UNSUPPORTED_KIND),
        (order("x", buttons=[[button("callback", "ї" * 33)]]), FailureCode.TOO_LONG),
    ],
)
def test_what_telegram_would_never_take_is_rejected_at_once(message: SendMessage, code: FailureCode) -> None:
    with pytest.raises(MessageRejected) as caught:
        to_requests(message)
    assert caught.value.code is code
