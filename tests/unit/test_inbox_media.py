"""Files, places, contact cards and presses of the client's messages."""

from __future__ import annotations

import pytest
from inbox_talk import CONTACT, CONVERSATION, INBOUND, NOON, Talk, came, content, edited, photo, settled

from inbox.domain import LOST_TEXTS, AttachmentSettled, is_behind, message_view, row_view
from msgkit.contracts.events import ButtonPress, Contact, Place, SharedContact
from msgkit.contracts.ids import attachment_id, inbound_message_id
from msgkit.contracts.views import MessageView
from msgkit.contracts.words import AttachmentState, MessageKind

MESSAGE = inbound_message_id(CONVERSATION, "1")
FILE = attachment_id(MESSAGE, "photo-1")


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.does(came("1", content=photo(), group_id="album-1"))
    return talk


def view(talk: Talk, message_id: str = MESSAGE) -> MessageView:
    return MessageView.model_validate(message_view(talk.state.messages[message_id]))


def test_a_file_waits_until_it_is_fetched(talk: Talk) -> None:
    (waiting,) = view(talk).attachments
    assert (waiting.id, waiting.state, waiting.url, waiting.width) == (
        FILE,
        AttachmentState.PENDING,
        None,
        640,
    )
    assert view(talk).group_id == "album-1"
    talk.does(settled())
    (ready,) = view(talk).attachments
    assert (ready.state, ready.mime, ready.size, ready.width) == (
        AttachmentState.READY, "image/png", 900, 600,
    )  # fmt: skip
    assert (ready.url, ready.thumb_url) == (
        f"/api/v1/media/{FILE}/url",
        f"/api/v1/media/{FILE}/url?variant=thumb",
    )
    assert "objects/" not in str(message_view(talk.state.messages[MESSAGE]))
    assert talk.state.messages[MESSAGE].rev == talk.state.v


def test_a_fetched_file_without_a_thumbnail_has_no_address_for_one(talk: Talk) -> None:
    event = settled()
    assert event.stored is not None
    talk.does(event.model_copy(update={"stored": event.stored.model_copy(update={"thumb_key": None})}))
    (ready,) = view(talk).attachments
    assert (ready.url is not None, ready.thumb_url) == (True, None)


def test_what_only_looking_at_it_shows_to_be_a_video_is_one(talk: Talk) -> None:
    """A story may be either, and its address does not say which."""
    event = settled()
    assert event.stored is not None
    film = event.stored.model_copy(update={"mime": "video/mp4", "thumb_key": None})
    talk.does(event.model_copy(update={"stored": film}))
    assert [one.kind for one in view(talk).attachments] == ["video"]


@pytest.mark.parametrize("reason", sorted(LOST_TEXTS))
def test_a_lost_file_says_why(talk: Talk, reason: str) -> None:
    talk.does(settled(stored=None, reason=reason))
    (lost,) = view(talk).attachments
    assert (lost.state, lost.problem, lost.url) == (AttachmentState.LOST, LOST_TEXTS[reason], None)


def test_a_report_counts_once_and_of_what_is_there_only(talk: Talk) -> None:
    assert isinstance(talk.does(settled()), tuple)
    assert talk.does(settled(stored=None, reason="gone")) == ()
    for stranger in (settled("99"), settled(ref="another")):
        assert is_behind(talk.state, stranger)
        assert talk.does(stranger) == ()
    assert view(talk).attachments[0].state is AttachmentState.READY


def test_an_edited_caption_keeps_the_fetched_file(talk: Talk) -> None:
    talk.does(settled())
    words = edited("1", "", NOON.replace(minute=1)).model_copy(update={"content": photo(words="Ось")})
    talk.does(words)
    shown = view(talk)
    assert (shown.text, shown.edited, shown.attachments[0].state) == ("Ось", True, AttachmentState.READY)
    assert talk.does(words.model_copy(update={"edited_at": NOON.replace(minute=2)})) == ()


def test_a_file_edited_away_is_gone_and_its_late_report_is_nothing(talk: Talk) -> None:
    other = edited("1", "", NOON.replace(minute=1)).model_copy(update={"content": photo("photo-2")})
    talk.does(other)
    assert talk.does(settled()) == ()
    decision = talk.does(settled(ref="photo-2"))
    assert isinstance(decision, tuple)
    assert isinstance(decision[0], AttachmentSettled)
    assert view(talk).attachments[0].state is AttachmentState.READY


def test_a_place_and_a_contact_are_shown() -> None:
    talk = Talk()
    place = Place(latitude=50.45, longitude=30.52, title="Салон", address="Хрещатик, 1")
    talk.does(came("1", content=content(MessageKind.LOCATION, place=place)))
    card = SharedContact(name="Мама", phone="+380671112233", is_own=False)
    talk.does(came("2", content=content(MessageKind.CONTACT, shared_contact=card)))
    assert view(talk).place == place
    assert view(talk, inbound_message_id(CONVERSATION, "2")).shared_contact == card
    assert row_view(talk.state, "")["last_message"]["kind"] == "contact"
    assert row_view(talk.state, "")["contact"]["phone"] is None


def test_an_own_number_stays_with_the_contact() -> None:
    talk = Talk()
    talk.does(came("1"))
    own = SharedContact(name="Оля", phone="+380501234567", is_own=True)
    talk.does(came("2", content=content(MessageKind.CONTACT, shared_contact=own)))
    for number in ("3", "4"):
        talk.does(came(number))
        assert row_view(talk.state, "")["contact"]["phone"] == "+380501234567"
    told = Contact(key=CONTACT, name="Оля", username=None, phone="+380509999999", language=None)
    talk.does(came("5").model_copy(update={"contact": told}))
    assert row_view(talk.state, "")["contact"]["phone"] == "+380509999999"
    assert INBOUND["contact"].phone is None


def test_a_press_is_a_message_with_its_value_kept() -> None:
    talk = Talk()
    pressed = ButtonPress(value="cmd:book", message_provider_id="40")
    talk.does(came("1", words="Записатися", pressed=pressed))
    message = talk.state.messages[MESSAGE]
    assert message.pressed is not None
    assert (message.body.text, message.pressed.value, message.pressed.message_provider_id) == (
        "Записатися",
        "cmd:book",
        "40",
    )
