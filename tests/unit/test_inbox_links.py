"""What a message points at, who wrote it where nobody says so, and edits made in the messenger's own app."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from inbox_talk import (
    CONTACT,
    CONVERSATION,
    INBOUND,
    NOON,
    Talk,
    came,
    card_changed,
    content,
    edited,
    photo,
    reply,
    reported,
)

from inbox.documents import message_document, message_of, state_document
from inbox.domain import Messenger, message_view, row_view
from msgkit.contracts.events import Contact, SharedLink
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import MessageKind, MessageState

STORY = SharedLink(kind="story_reply", title=None, url="https://www.instagram.com/stories/salon/1")
FIRST = inbound_message_id(CONVERSATION, "1")
DIRECT = Messenger(title="Instagram Direct")


def pointing(words: str = "", kind: MessageKind = MessageKind.TEXT, link: SharedLink = STORY) -> Any:
    return came("1", content=content(kind, text=words, shared_link=link))


def view(talk: Talk, id_: str = FIRST) -> MessageView:
    return MessageView.model_validate(message_view(talk.state.messages[id_]))


def row(talk: Talk, messenger: Messenger = DIRECT) -> ConversationRow:
    return ConversationRow.model_validate(row_view(talk.state, "Салон", None, messenger))


def nobody(username: str | None = None) -> dict[str, Any]:
    contact = Contact(key=CONTACT, name="", username=username, phone=None, language=None)
    return {"contact": contact}


def test_what_a_message_points_at_is_kept_and_shown() -> None:
    talk = Talk()
    talk.does(pointing("Скільки коштує?"))
    assert view(talk).shared_link == STORY
    assert row(talk).last_message is not None
    assert row(talk).last_message.text == "Скільки коштує?"  # type: ignore[union-attr]
    message = talk.state.messages[FIRST]
    assert message_of(message_document(message)) == message


def test_a_message_that_points_at_nothing_is_stored_as_ever() -> None:
    talk = Talk()
    talk.does(came())
    assert "shared_link" not in message_document(talk.state.messages[FIRST])["body"]
    assert view(talk).shared_link is None


@pytest.mark.parametrize(
    ("kind", "title", "words"),
    [
        ("story_reply", None, "Відповідь на історію"),
        ("story_mention", None, "Згадка в історії"),
        ("post", None, "Допис"),
        ("reel", "Нова стрижка", "Нова стрижка"),
        ("link", "Прайс", "Прайс"),
        ("product", None, "Товар"),
        ("ad", None, "Реклама"),
    ],
)
def test_a_row_and_a_quotation_say_what_a_message_without_words_points_at(
    kind: Any, title: str | None, words: str
) -> None:
    talk = Talk()
    talk.does(pointing(link=SharedLink(kind=kind, title=title, url=None)))
    last = row(talk).last_message
    assert last is not None
    assert last.text == words
    talk.does(reply(reply_to=FIRST))
    quote = view(talk, talk.answer_id).quote
    assert quote is not None
    assert quote.text == words


def test_an_edit_need_not_repeat_what_the_message_carries() -> None:
    talk = Talk()
    files = photo(words="Це воно?").model_copy(update={"shared_link": STORY})
    talk.does(came("1", content=files))
    talk.does(edited("1", "Оце?", NOON + timedelta(minutes=1)))
    shown = view(talk)
    assert (shown.text, shown.edited, shown.kind) == ("Оце?", True, "image")
    assert len(shown.attachments) == 1
    assert shown.shared_link == STORY


def test_an_answer_edited_in_the_messengers_own_app_shows_its_new_words() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["m_1"]))
    talk.does(edited("m_1", "Вітаємо вас", NOON + timedelta(minutes=1)))
    shown = view(talk, talk.answer_id)
    assert (shown.text, shown.edited, [one.text for one in shown.versions]) == (
        "Вітаємо вас",
        True,
        ["Вітаю"],
    )


def test_such_an_edit_before_the_answers_id_is_known_waits_for_it() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    talk.does(edited("m_1", "Вітаємо вас", NOON + timedelta(minutes=1)))
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["m_1"]))
    assert view(talk, talk.answer_id).text == "Вітаємо вас"
    assert talk.state.parked_edits == ()
    said = talk.done(reported(talk.answer_id, MessageState.DELIVERED, provider_ids=["m_1"]))
    assert [event.type for event in said] == ["delivery.changed"]


# ------------------------------------------------------------ who it is


def test_somebody_nobody_named_is_called_by_where_they_write_from() -> None:
    talk = Talk()
    talk.does(came(**nobody()))
    assert row(talk).title == row(talk).contact.name == "Клієнт Instagram Direct"
    assert row(talk, Messenger()).title == "Без імені"
    assert view(talk).author.name is None  # whoever shows it takes the row's name, which may come later
    talk.does(card_changed(username="olya.nails"))
    assert row(talk).title == "olya.nails"


def test_a_profile_names_them_and_messages_that_do_not_take_nothing_back() -> None:
    talk = Talk()
    talk.does(came(**nobody()))
    talk.does(card_changed(name="Оля Коваль", username="olya.nails"))
    assert row(talk).title == "Оля Коваль"
    talk.does(came("2", **nobody()))
    assert (row(talk).title, row(talk).contact.username) == ("Оля Коваль", "olya.nails")
    assert talk.done(card_changed("again", name="Оля Коваль")) == ()


def test_a_username_that_a_named_contact_gave_up_is_gone() -> None:
    talk = Talk()
    talk.does(came())
    without = INBOUND["contact"].model_copy(update={"username": None})
    talk.does(came("2", contact=without))
    assert row(talk).contact.username is None
    assert state_document(talk.state)["contact"]["username"] is None
