"""What happens to messages at Messenger and Instagram: answers elsewhere, edits, signs, takings back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from meta_talk import (
    ACCOUNT,
    AT,
    AT_MS,
    CDN,
    IGSID,
    INSTAGRAM,
    PSID,
    entry,
    item,
    media,
    message,
    only,
    ours,
    parse,
    webhook,
    wrote,
)

from msgkit.connector.contract import Account, send_mark
from msgkit.contracts.events import (
    ButtonPress,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ReactionChanged,
    SharedContact,
    SharedLink,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.words import AuthorKind, MessageKind

BOTH = pytest.mark.parametrize("account", [ACCOUNT, INSTAGRAM], ids=lambda account: account.kind)
MIDS = {"facebook": "m_Qk7fWzT0pPzE1", "instagram": "aWdfZAG1faXRlbToxOklHTWVzc2FnZUlEOjE3"}
QUOTED = {kind: f"{mid[:-2]}0k" for kind, mid in MIDS.items()}
CLIENTS = {"facebook": PSID, "instagram": IGSID}


# --- who


@BOTH
def test_client_is_known_by_the_id_alone(account: Account) -> None:
    event = only(MessageReceived, "message__text", account)
    assert (event.contact.key, event.contact.name, event.contact.username) == (
        CLIENTS[account.kind],
        "",
        None,
    )
    assert event.conversation_id == conversation_id(account.channel_id, CLIENTS[account.kind])
    assert only(MessageReceived, "message__text_as_numbers", account).contact == event.contact


@BOTH
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("message__of_nobody", "a message without a person one could answer"),
        ("message__without_sender", "a message without a person one could answer"),
        ("message__without_id", "a message without its id"),
        ("message__id_empty", "a message without its id"),
        ("message__that_is_no_object", "a message that is no object"),
        ("postback__of_nobody", "a postback without a person one could answer"),
        ("reaction__on_nothing", "a reaction without its message"),
        ("edit__of_nothing", "a message_edit without its id"),
        ("echo__to_nobody", "a message without a person one could answer"),
        ("item__no_object", "an item that is no object"),
        ("webhook__entry_no_object", "an item that is no object"),
    ],
)
def test_what_cannot_be_understood_is_kept_for_a_person(name: str, reason: str, account: Account) -> None:
    said = parse(name, account)
    assert (said.events, said.quarantine) == ((), reason)


def test_somebody_behind_a_checkbox_cannot_be_answered() -> None:
    assert parse("message__of_a_checkbox").quarantine == "a message without a person one could answer"


# --- twice


@BOTH
def test_the_same_message_twice_in_one_webhook_is_one_event_twice(account: Account) -> None:
    first, second = parse("message__twice_in_one_webhook", account).events
    assert first == second


def test_a_message_and_its_deletion_are_two_events_of_one_message() -> None:
    received = only(MessageReceived, "message__text")
    deleted = only(MessageDeleted, "message__deleted")
    assert received.event_id != deleted.event_id
    assert received.provider_id == deleted.provider_id
    assert received.conversation_id == deleted.conversation_id


def test_a_press_without_an_id_is_the_same_at_the_same_time_only() -> None:
    def pressed(at: object, payload: str = "P") -> MessageReceived:
        told = {**item(postback={"title": "Ціни", "payload": payload}), "timestamp": at}
        return only(MessageReceived, wrote(told))

    assert pressed(AT_MS) == pressed(AT_MS)
    assert pressed(AT_MS).event_id != pressed(AT_MS + 1).event_id
    assert pressed(AT_MS).event_id != pressed(AT_MS, "Q").event_id
    assert pressed(AT_MS).provider_id != pressed(AT_MS, "Q").provider_id


@BOTH
def test_a_batch_is_taken_whole_and_in_order(account: Account) -> None:
    said = parse("webhook__batch", account)
    texts = [
        event.content.text for event in said.events if isinstance(event, MessageReceived | MessageEchoed)
    ]
    assert texts == ["раз", "два", "три", "чотири", "п'ять"]
    standby = [event.is_standby for event in said.events if isinstance(event, MessageReceived)]
    assert standby == [False, False, False, True]
    assert said.counted == ("other_account", "feed")
    assert said.quarantine == "an item that is no object"


def test_times_of_one_dialogue_keep_their_milliseconds() -> None:
    events = parse(wrote(message("m_1", "а", AT_MS), message("m_2", "б", AT_MS + 1))).events
    assert [event.provider_seq for event in events if isinstance(event, MessageReceived)] == [
        AT_MS,
        AT_MS + 1,
    ]


# --- echoes


@BOTH
@pytest.mark.parametrize("name", ["echo__typed_in_the_app", "echo__of_another_program", "echo__in_standby"])
def test_what_was_written_elsewhere_is_ours_and_of_a_person(name: str, account: Account) -> None:
    event = only(MessageEchoed, name, account)
    assert event.author_kind is AuthorKind.OPERATOR
    assert event.contact.key == CLIENTS[account.kind]
    assert event.conversation_id == conversation_id(account.channel_id, CLIENTS[account.kind])
    assert (event.provider_id, event.sent_at) == (f"{MIDS[account.kind]}E", AT)


@BOTH
def test_an_echo_may_be_a_picture_or_an_answer(account: Account) -> None:
    picture = only(MessageEchoed, "echo__image", account).content
    assert picture.media == [media(f"{CDN}ours.jpg", "image", MessageKind.IMAGE)]
    assert only(MessageEchoed, "echo__reply", account).reply_to_provider_id == MIDS[account.kind]


@BOTH
def test_own_echo_is_no_message_whatever_else_it_says(account: Account) -> None:
    mark = send_mark("a" * 32, 0)
    for told in ({"text": "x"}, {"attachments": [{"type": "image"}]}, {}):
        echo = ours(account, message={"is_echo": True, "mid": "m_9", "metadata": mark, **told})
        said = parse(wrote(echo, account=account), account)
        assert said.events == ()
        assert [receipt.mark for receipt in said.receipts] == [mark]


def test_a_clients_message_with_a_mark_of_ours_is_his() -> None:
    assert only(MessageReceived, wrote(message("m_1", metadata=send_mark("a" * 32, 0)))).provider_id == "m_1"


def test_echo_of_a_link_and_of_buttons_can_be_read() -> None:
    link = only(MessageEchoed, "echo__link").content
    assert (link.text, link.shared_link) == (
        "Наш сайт",
        SharedLink(kind="link", title="Legacy Attachment", url="https://www.messenger.com/"),
    )
    assert only(MessageEchoed, "echo__buttons").content.text == "Оберіть:\n[Ціни]\n[Сайт]"


def test_instagram_echoes_of_its_own_kinds() -> None:
    assert only(MessageEchoed, "echo__heart", INSTAGRAM).content.text == "❤️"
    post = only(MessageEchoed, "echo__post", INSTAGRAM).content
    assert (post.kind, post.shared_link) == (
        MessageKind.IMAGE,
        SharedLink(kind="post", title="Наш новий допис", url=None),
    )


def test_an_answer_that_cannot_be_shown_asks_nothing_of_the_client() -> None:
    echo = ours(INSTAGRAM, message={"is_echo": True, "mid": "a", "attachments": [{"type": "ephemeral"}]})
    content = only(MessageEchoed, wrote(echo, account=INSTAGRAM), INSTAGRAM).content
    assert (content.kind, content.unsupported) == (MessageKind.UNSUPPORTED, "ephemeral")
    assert content.text == (
        "Це повідомлення надіслано не звідси. Відкрийте чат у застосунку Instagram, щоб побачити його."
    )


def test_what_the_account_sent_is_its_own_even_without_the_word_echo() -> None:
    event = only(MessageEchoed, "message__by_us_without_a_mark_of_echo", INSTAGRAM)
    assert event.contact.key == IGSID


@BOTH
def test_an_answer_taken_back_in_the_app_is_taken_back_here(account: Account) -> None:
    event = only(MessageDeleted, "echo__deleted", account)
    assert (event.provider_id, event.contact.key) == (f"{MIDS[account.kind]}E", CLIENTS[account.kind])


# --- what a message points at


def test_only_one_link_is_shown_as_such_and_no_other_is_lost() -> None:
    """The window names the one it shows; beside the client's words stand the others alone."""
    near, far = "https://salon.example/prices", "https://salon.example/map"
    links = [{"type": "fallback", "payload": {"url": url, "title": "Салон"}} for url in (near, far)]
    content = only(MessageReceived, wrote(message("m_1", "дивіться", attachments=links))).content
    assert content.shared_link == SharedLink(kind="link", title="Салон", url=near)
    assert content.text == f"дивіться\nПосилання: Салон {far}"
    written = only(MessageReceived, wrote(message("m_2", f"{near} і {far}", attachments=links))).content
    assert written.text == f"{near} і {far}"


def test_post_beside_a_story_that_is_answered_is_not_lost() -> None:
    story = {"reply_to": {"story": {"id": "1", "url": "https://lookaside.fbsbx.com/s?asset_id=2"}}}
    post = {"type": "ig_post", "payload": {"url": "https://www.instagram.com/p/C0ffee/", "title": "Образи"}}
    told = item(INSTAGRAM, message={"mid": "m_1", "attachments": [post], **story})
    content = only(MessageReceived, wrote(told, account=INSTAGRAM), INSTAGRAM).content
    assert (content.shared_link and content.shared_link.kind) == "story_reply"
    assert content.text == "Допис: Образи https://www.instagram.com/p/C0ffee/"


# --- what is switched off


def test_page_that_serves_the_other_messenger_brings_nothing_to_one_that_is_off() -> None:
    by_page = replace(INSTAGRAM, credentials={"page_id": "604455667788990", "access_token": "EAAtoken"})
    for account, counted in ((ACCOUNT, ("switched_off",)), (by_page, ("switched_off",)), (INSTAGRAM, ())):
        said = parse("message__text", replace(account, state="disabled"))
        # Instagram's own login is left for good: what still comes was on its way.
        assert (said.counted, bool(said.events)) == (counted, not counted)


# --- edits, deletions


@BOTH
def test_edit_is_known_by_its_number_however_it_is_written(account: Account) -> None:
    edit = only(MessageEdited, "edit__text", account)
    assert (edit.provider_id, edit.content.text, edit.edited_at) == (MIDS[account.kind], "на неділю", AT)
    assert edit.content.kind is MessageKind.TEXT
    as_text = only(MessageEdited, "edit__number_as_text", account)
    assert as_text.event_id == edit.event_id


@BOTH
def test_edit_without_a_number_is_known_by_its_words(account: Account) -> None:
    edit = only(MessageEdited, "edit__without_number", account)
    again = only(MessageEdited, "edit__without_number", account)
    told = {"mid": MIDS[account.kind], "text": "на понеділок"}
    another = only(MessageEdited, wrote(item(account, message_edit=told), account=account), account)
    assert edit.event_id == again.event_id != another.event_id


@BOTH
def test_message_taken_back_is_deleted_even_if_nobody_knows_it(account: Account) -> None:
    event = only(MessageDeleted, "message__deleted", account)
    assert (event.provider_id, event.deleted_at) == (MIDS[account.kind], AT)
    assert event.contact.key == CLIENTS[account.kind]


# --- signs


@BOTH
@pytest.mark.parametrize(
    ("name", "emoji"),
    [
        ("reaction__put", "❤️"),
        ("reaction__put_another", "💅"),
        ("reaction__put_by_name", "😮"),
        ("reaction__taken_off", None),
    ],
)
def test_reaction(name: str, emoji: str | None, account: Account) -> None:
    event = only(ReactionChanged, name, account)
    assert (event.provider_id, event.emoji, event.reacted_at) == (QUOTED[account.kind], emoji, AT)
    assert event.author_kind is AuthorKind.CLIENT


@BOTH
def test_reaction_of_the_account_is_an_operators(account: Account) -> None:
    event = only(ReactionChanged, "reaction__by_us", account)
    assert (event.author_kind, event.contact.key) == (AuthorKind.OPERATOR, CLIENTS[account.kind])


def test_the_same_sign_put_again_later_is_another_event() -> None:
    def put(at: int, action: str = "react") -> str:
        told = {"mid": "m_1", "action": action, "emoji": "❤️", "reaction": "love"}
        return only(ReactionChanged, wrote(item(ACCOUNT, at, reaction=told))).event_id

    assert put(AT_MS) == put(AT_MS)
    assert len({put(AT_MS), put(AT_MS + 1), put(AT_MS, "unreact")}) == 3


# --- buttons


def test_a_button_that_only_says_its_title_has_no_value() -> None:
    reply = only(MessageReceived, wrote(message("m_1", "Так", quick_reply={"payload": "rz"})))
    assert (reply.content.text, reply.pressed) == ("Так", None)


def test_button_of_another_program_keeps_its_word() -> None:
    event = only(MessageReceived, wrote(item(postback={"mid": "m_1", "title": "Ні", "payload": '{"a":1}'})))
    assert event.pressed == ButtonPress(value='{"a":1}', message_provider_id=None)


def test_a_number_the_client_shares_is_his() -> None:
    told = message("m_1", "+380671112233", quick_reply={"payload": "+380671112233"})
    event = only(MessageReceived, wrote(told))
    assert (event.contact.phone, event.pressed) == ("+380671112233", None)
    assert (event.content.kind, event.content.text) == (MessageKind.CONTACT, "")
    assert event.content.shared_contact == SharedContact(name="Контакт", phone="+380671112233", is_own=True)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("Подзвоніть", "+380671112233"),
        ("+380671112233", "call"),
        ("+380671112233", None),
        ("112", "112"),
        ("+3806711122334455", "+3806711122334455"),
    ],
)
def test_a_number_that_may_be_anybodys_is_no_more_than_words(text: str, payload: object) -> None:
    event = only(MessageReceived, wrote(message("m_1", text, quick_reply={"payload": payload})))
    assert (event.contact.phone, event.content.shared_contact) == (None, None)
    assert event.content.text == text


# --- standby


@BOTH
def test_while_another_app_holds_the_thread_no_bot_answers(account: Account) -> None:
    said = parse(
        webhook(
            entry(item(account, message={"mid": "m_1", "text": "а"}), account=account, where="standby"),
            entry(item(account, message={"mid": "m_2", "text": "б"}), account=account),
            account=account,
        ),
        account,
    )
    standby = {
        event.provider_id: event.is_standby for event in said.events if isinstance(event, MessageReceived)
    }
    assert standby == {"m_1": True, "m_2": False}
