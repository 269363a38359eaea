"""Buttons of an answer: from the order to the connector and the window, and again with another attempt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inbox_talk import OLENA, Talk, came, reply, reported
from pydantic import ValidationError

from inbox.domain import Button, Retry, message_view
from inbox.orders import orders_of
from msgkit.contracts.internal_api import BUTTON_ROWS_MAX, BUTTONS_PER_ROW_MAX, SendRequest
from msgkit.contracts.words import MessageState

SITE = Button("Сайт", "url", "https://mavka.example/prices")
PRICES = Button("Ціни", "reply", "prices")
YES = {"text": "Так", "action": "callback", "value": "yes"}


def sends(talk: Talk) -> list[dict[str, Any]]:
    return [json.loads(order.body) for commit in talk.commits for order in orders_of(commit)]


def test_buttons_are_ordered_shown_and_sent_again() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply(buttons=((SITE, PRICES), (PRICES,))))
    wanted = [
        [
            {"text": "Сайт", "action": "url", "value": SITE.value},
            {"text": "Ціни", "action": "reply", "value": "prices"},
        ],
        [{"text": "Ціни", "action": "reply", "value": "prices"}],
    ]
    assert sends(talk)[0]["buttons"] == wanted
    view = message_view(talk.state.messages[talk.answer_id])
    assert view["buttons"] == [
        [{"text": "Сайт", "url": SITE.value}, {"text": "Ціни", "url": None}],
        [{"text": "Ціни", "url": None}],
    ]
    talk.does(reported(talk.answer_id, MessageState.FAILED))
    talk.does(Retry(talk.answer_id, OLENA))
    assert sends(talk)[1]["buttons"] == wanted
    assert message_view(talk.state.messages[talk.answer_id])["buttons"] == view["buttons"]


def test_other_buttons_under_the_same_key_are_a_mistake() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply(buttons=((SITE,),)))
    assert talk.does(reply(buttons=((SITE,),))) == ()
    for other in ((), ((PRICES,),), ((SITE,), (SITE,))):
        assert talk.refused(reply(buttons=other)).code == "client_msg_id_reused"


def test_a_note_has_no_buttons() -> None:
    talk = Talk()
    talk.does(came())
    refusal = talk.refused(reply(note=True, buttons=((SITE,),)))
    assert (refusal.status, refusal.code) == (422, "invalid")
    assert "Приберіть кнопки" in refusal.detail


def test_buttons_alone_are_no_message() -> None:
    talk = Talk()
    talk.does(came())
    assert talk.refused(reply(words=" ", buttons=((SITE,),))).code == "invalid"


@pytest.mark.parametrize(
    "buttons",
    [
        [[]],
        [[YES]] * (BUTTON_ROWS_MAX + 1),
        [[YES] * (BUTTONS_PER_ROW_MAX + 1)],
        [[{**YES, "text": ""}]],
        [[{**YES, "text": " \n"}]],
        [[{**YES, "text": "д" * 65}]],
        [[{**YES, "value": ""}]],
        [[{**YES, "value": "v" * 2049}]],
        [[{**YES, "action": "pay"}]],
        [[{**YES, "style": "red"}]],
        [[{"text": "Сайт", "action": "url"}]],
        [[{"text": "Сайт", "action": "url", "value": "javascript:alert(1)"}]],
        [[{"text": "Сайт", "action": "url", "value": "mavka.example"}]],
        [YES],
    ],
)
def test_what_cannot_be_a_button(buttons: Any) -> None:
    with pytest.raises(ValidationError):
        SendRequest.model_validate({"client_msg_id": "key-0001", "text": "Оберіть", "buttons": buttons})


def test_what_can_be_a_button() -> None:
    buttons = [
        [{**YES, "text": "д" * 64}] * BUTTONS_PER_ROW_MAX,
        [{"text": "Сайт", "action": "url", "value": "HTTPS://mavka.example"}],
        [{"text": "Надіслати номер", "action": "share_phone"}],
        [{"text": "Де ви?", "action": "share_location"}, {"text": "Меню", "action": "reply"}],
    ]
    body = SendRequest.model_validate({"client_msg_id": "key-0001", "text": "Оберіть", "buttons": buttons})
    assert [[button.action for button in row] for row in body.buttons][1:] == [
        ["url"],
        ["share_phone"],
        ["share_location", "reply"],
    ]
