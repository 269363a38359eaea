"""What becomes of each fixture of Messenger and Instagram."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meta_talk import AT, CDN, media

from msgkit.contracts.events import ButtonPress, Place, SharedLink
from msgkit.contracts.words import MessageKind
from msgkit.testing.connector_suite import RECEIVED_AT, Case

HELLO = "Добрий день! Є місця на суботу?"
ENTRY_AT = datetime.fromtimestamp(1795257002.017, UTC)
SECONDS = datetime.fromtimestamp(1795257001, UTC)
_FILES = "https://cdn.fbsbx.com/v/t59.2708-21/"
_ASSETS = "https://lookaside.fbsbx.com/ig_messaging_cdn/"
_STORY = f"{_ASSETS}?asset_id=18012345678901234&signature=Ab"
_IG = "https://scontent.cdninstagram.com/v/t51/"
_GOODS = "Шампунь, 310 грн\nМаска, 280 грн"


def not_shown(app: str) -> str:
    return (
        f"{app} не передає таких повідомлень. Відкрийте чат у застосунку {app} або попросіть клієнта "
        "написати словами чи надіслати файлом."
    )


def link(kind: Any, title: str | None = None, url: str | None = None) -> SharedLink:
    return SharedLink(kind=kind, title=title, url=url)


def image(name: str, said: str = "image") -> Any:
    return media(CDN + name, said, MessageKind.IMAGE)


def counted(name: str, *words: str) -> Case:
    return Case(name, counted=words)


def _alike(mid: str, quoted: str, app: str) -> list[Case]:
    """What both messengers do alike."""
    unsupported = not_shown(app)
    ad = {"shared_link": link("ad", "Осіння знижка")}
    return [
        Case(
            "message__text",
            MessageKind.TEXT,
            HELLO,
            more={
                "sent_at": AT,
                "provider_id": mid,
                "provider_seq": 1795257001877,
                "start_payload": None,
                "pressed": None,
                "is_standby": False,
                "reply_to_provider_id": None,
            },
            content={"shared_link": None, "media": []},
        ),
        Case("message__text_reply", MessageKind.TEXT, "Так, на цю", more={"reply_to_provider_id": quoted}),
        Case(
            "message__text_quick_reply",
            MessageKind.TEXT,
            "Манікюр",
            more={"pressed": ButtonPress(value="service:manicure", message_provider_id=None)},
        ),
        Case(
            "message__text_quick_reply_under_a_message",
            MessageKind.TEXT,
            "Ні",
            more={"pressed": ButtonPress(value="NO", message_provider_id=quoted)},
        ),
        Case(
            "message__text_from_an_ad",
            MessageKind.TEXT,
            "Хочу знижку",
            counted=("message_referral",),
            more={"start_payload": "oct-sale"},
            content=ad,
        ),
        Case(
            "message__text_from_an_ad_without_ref",
            MessageKind.TEXT,
            "Скільки коштує?",
            counted=("message_referral",),
            more={"start_payload": "6045246247433"},
            content={"shared_link": link("ad")},
        ),
        Case("message__text_empty", MessageKind.TEXT),
        Case("message__text_of_wrong_type", MessageKind.UNSUPPORTED, unsupported, unsupported="empty"),
        Case("message__text_64_kb", MessageKind.TEXT, "Ж" * 32768, more={"raw": ""}),
        Case("message__text_beside_unknown_keys", MessageKind.TEXT, HELLO),
        Case("message__text_as_escaped_on_the_wire", MessageKind.TEXT, "ціна 250/300 💇"),
        Case("message__text_cut_in_a_sign", MessageKind.TEXT, "обрізано ?"),
        Case("message__with_nothing_in_it", MessageKind.UNSUPPORTED, unsupported, unsupported="empty"),
        Case("message__numbers_as_text", MessageKind.TEXT, "час рядком", more={"sent_at": AT}),
        Case("message__text_as_numbers", MessageKind.TEXT, HELLO, more={"sent_at": AT}),
        Case("message__timestamp_in_seconds", MessageKind.TEXT, HELLO, more={"sent_at": SECONDS}),
        Case("message__timestamp_missing", MessageKind.TEXT, HELLO, more={"sent_at": ENTRY_AT}),
        Case("message__timestamp_odd", MessageKind.TEXT, HELLO, more={"sent_at": RECEIVED_AT}),
        Case("message__image", MessageKind.IMAGE, content={"media": [image("photo.jpg?oh=1&oe=2")]}),
        Case("message__image_with_text", MessageKind.IMAGE, "чек"),
        Case(
            "message__images_with_text",
            MessageKind.IMAGE,
            "три роботи",
            content={"media": [image(f"{n}.jpg?oh={n}") for n in (1, 2, 3)]},
        ),
        Case("message__image_twice_the_same", MessageKind.IMAGE, content={"media": [image("1.jpg")]}),
        Case(
            "message__image_without_url",
            MessageKind.UNSUPPORTED,
            f"загублене\n{unsupported}",
            unsupported="image",
        ),
        Case("message__image_of_a_relative_url", MessageKind.UNSUPPORTED, unsupported, unsupported="image"),
        Case("message__video", MessageKind.VIDEO),
        Case("message__audio", MessageKind.AUDIO),
        Case(
            "message__file",
            MessageKind.FILE,
            content={
                "media": [
                    media(
                        f"{_FILES}%D1%80%D0%B0%D1%85%D1%83%D0%BD%D0%BE%D0%BA%2012.pdf?oh=1&dl=1",
                        "file",
                        MessageKind.FILE,
                        "рахунок 12.pdf",
                    )
                ]
            },
        ),
        Case(
            "message__file_without_name",
            MessageKind.FILE,
            content={"media": [media(f"{_FILES}98765", "file", MessageKind.FILE)]},
        ),
        Case(
            "message__image_beside_video",
            MessageKind.IMAGE,
            content={"media": [image("1.jpg"), media(f"{CDN}2.mp4", "video", MessageKind.VIDEO)]},
        ),
        Case(
            "message__new_type",
            MessageKind.UNSUPPORTED,
            f"Я з майбутнього\n{unsupported}",
            unsupported="hologram",
        ),
        Case(
            "message__new_type_beside_image",
            MessageKind.IMAGE,
            f"Тут є ще вкладення, якого система не показує (hologram). Відкрийте чат у застосунку {app}.",
        ),
        Case("message__attachment_without_type", MessageKind.UNSUPPORTED, unsupported, unsupported="empty"),
        Case("message__attachments_of_wrong_type", MessageKind.TEXT, "є"),
        Case(
            "message__attachment_that_is_no_object", MessageKind.UNSUPPORTED, unsupported, unsupported="empty"
        ),
        Case(
            "message__template_of_goods",
            MessageKind.IMAGE,
            _GOODS,
            content={
                "shared_link": link("product"),
                "media": [image("mug.jpg", "template")],
            },
        ),
        Case("message__template_empty", MessageKind.UNSUPPORTED, unsupported, unsupported="template"),
        Case(
            "postback__button",
            MessageKind.TEXT,
            "Ціни",
            more={
                "provider_id": f"{mid}P",
                "pressed": ButtonPress(value="ICE_PRICES", message_provider_id=None),
                "start_payload": None,
            },
        ),
        Case("postback__without_id", MessageKind.TEXT, "Ціни"),
        Case("postback__without_title", MessageKind.TEXT, "ICE_PRICES"),
        counted("referral__link", "referral"),
        counted("reaction__new_action", "reaction_unknown"),
        counted("edit__without_text", "edit_without_text"),
        counted("read__of_nothing", "read_of_nothing"),
        counted("read__by_us", "read_by_us"),
        counted("echo__own", "echo_own"),
        Case("standby__message", MessageKind.TEXT, "привіт, боте", more={"is_standby": True}),
        Case("standby__postback", MessageKind.TEXT, "Ціни", more={"is_standby": True, "pressed": None}),
        counted("thread__passed_to_us", "pass_thread_control"),
        counted("thread__taken", "take_thread_control"),
        counted("thread__asked_for", "request_thread_control"),
        counted("item__new", "unknown_item"),
        counted("item__empty", "unknown_item"),
        counted("webhook__dashboard_test", "test"),
        counted("webhook__without_entries_in_it", "empty"),
        counted("webhook__entry_empty", "empty"),
        counted("webhook__of_another_account", "other_account"),
        counted("webhook__of_the_other_messenger", "other_account"),
        counted("webhook__new_field", "unknown_field"),
        Case("webhook__of_another_product", quarantined=True),
        Case("webhook__without_object", quarantined=True),
        Case("webhook__without_entries", quarantined=True),
    ]


_OWN_TESTS = {
    # What happens to messages, and echoes, are no message of a client: test_ingest_meta_inbound.
    *("reaction__put", "reaction__put_another", "reaction__put_by_name", "reaction__taken_off"),
    *("reaction__by_us", "edit__text", "edit__number_as_text", "edit__without_number", "message__deleted"),
    *("echo__typed_in_the_app", "echo__of_another_program", "echo__image", "echo__reply", "echo__deleted"),
    *("echo__in_standby", "message__twice_in_one_webhook", "webhook__batch"),
    # One item cannot be understood, the rest of its webhook can.
    *("message__of_nobody", "message__without_sender", "message__without_id", "message__id_empty"),
    *("message__that_is_no_object", "postback__of_nobody", "reaction__on_nothing", "edit__of_nothing"),
    *("echo__to_nobody", "item__no_object", "webhook__entry_no_object"),
}

_STICKER = {"media": [media(f"{CDN}sticker.png", "sticker", MessageKind.STICKER)]}

FACEBOOK_CASES = [
    *_alike("m_Qk7fWzT0pPzE1", "m_Qk7fWzT0pPz0k", "Messenger"),
    Case(
        "message__text_reply_to_himself",
        MessageKind.TEXT,
        "і ще одне",
        more={"reply_to_provider_id": "m_Qk7fWzT0pPz00"},
    ),
    Case(
        "message__text_from_a_shop",
        MessageKind.TEXT,
        "Це є?",
        counted=("message_referral",),
        more={"start_payload": None},
        content={"shared_link": link("product", "2245")},
    ),
    Case("message__text_with_a_command", MessageKind.TEXT, "/ціни на манікюр"),
    Case("message__command_without_text", MessageKind.TEXT, "/ціни"),
    Case("message__sticker", MessageKind.STICKER, content=_STICKER),
    Case(
        "message__sticker_as_before_september",
        MessageKind.STICKER,
        content={"media": [media(f"{CDN}sticker-s.png", "sticker", MessageKind.STICKER)]},
    ),
    Case(
        "message__sticker_as_an_image_alone",
        MessageKind.STICKER,
        content={"media": [media(f"{CDN}sticker.png", "image", MessageKind.STICKER)]},
    ),
    Case("message__sticker_thumb_up", MessageKind.TEXT, "👍", content={"media": []}),
    Case("message__sticker_thumb_up_as_before_september", MessageKind.TEXT, "👍"),
    Case(
        "message__sticker_without_url", MessageKind.UNSUPPORTED, not_shown("Messenger"), unsupported="sticker"
    ),
    Case(
        "message__link",
        MessageKind.TEXT,
        "https://youtu.be/bbo_fZAjIhg",
        content={"shared_link": link("link", "Зачіски осені", "https://youtu.be/bbo_fZAjIhg")},
    ),
    Case(
        "message__link_without_text",
        MessageKind.TEXT,
        "",
        content={"shared_link": link("link", "Ціни", "https://salon.example/prices")},
    ),
    Case("message__link_without_payload", MessageKind.TEXT, "дивіться", content={"shared_link": None}),
    Case(
        "message__link_beside_its_payload",
        MessageKind.TEXT,
        "",
        content={"shared_link": link("link", "Legacy Attachment", "https://www.messenger.com/")},
    ),
    Case(
        "message__link_of_a_script",
        MessageKind.TEXT,
        "",
        content={"shared_link": link("link", "Подарунок")},
    ),
    Case(
        "message__reel_relative",
        MessageKind.TEXT,
        "",
        content={
            "media": [],
            "shared_link": link("reel", "як це роблять", "https://www.facebook.com/reel/123451234512345/"),
        },
    ),
    Case(
        "message__reel_of_instagram",
        MessageKind.TEXT,
        "хочу так",
        content={
            "media": [],
            "shared_link": link("reel", "весілля", "https://www.facebook.com/reel/123451234512345/"),
        },
    ),
    Case(
        "message__post",
        MessageKind.IMAGE,
        "",
        content={"media": [image("post.jpg", "post")], "shared_link": link("post", "Осінні образи")},
    ),
    Case(
        "message__post_of_instagram",
        MessageKind.TEXT,
        "",
        content={"media": [], "shared_link": link("post", None, "https://www.facebook.com/photo/?fbid=1")},
    ),
    Case("message__booking", MessageKind.TEXT, "Запис (запит): 22.11.2026 09:00–10:00, Europe/Kyiv"),
    Case(
        "message__booking_of_an_unknown_zone",
        MessageKind.TEXT,
        "запишіть\nЗапис (moved): 22.11.2026 07:00, UTC",
    ),
    Case(
        "message__booking_without_time",
        MessageKind.UNSUPPORTED,
        not_shown("Messenger"),
        unsupported="appointment_booking",
    ),
    Case(
        "message__place",
        MessageKind.LOCATION,
        content={"place": Place(latitude=49.8419, longitude=24.0315, title="Площа Ринок", address=None)},
    ),
    Case(
        "message__place_off_the_map",
        MessageKind.UNSUPPORTED,
        not_shown("Messenger"),
        unsupported="location",
    ),
    Case(
        "postback__get_started_from_a_link",
        MessageKind.TEXT,
        "Почати",
        counted=("message_referral",),
        more={"start_payload": "qr-salon-7", "provider_id": "m_pb1"},
    ),
    Case("postback__all_as_text", MessageKind.TEXT, "Почати", more={"sent_at": AT}),
    counted("referral__ad", "referral"),
    counted("referral__in_seconds", "referral"),
    counted("optin__news", "optin"),
    counted("delivery__ids_and_watermark", "delivery"),
    counted("delivery__watermark_only", "delivery"),
    counted("delivery__ids_of_nobody", "delivery"),
    counted("delivery__watermark_of_nobody", "delivery_of_nothing"),
    counted("delivery__of_nothing", "delivery_of_nothing"),
    counted("read__watermark", "read"),
    counted("read__watermark_in_seconds", "read"),
    counted("standby__read", "read"),
    counted("policy__warning", "policy_enforcement"),
    counted("policy__block", "policy_enforcement"),
    counted("policy__unblock", "policy_enforcement"),
    counted("policy__frown", "policy_unknown"),
    counted("account__linked", "account_linking"),
    counted("account__roles", "app_roles"),
    counted("feedback__thumb", "response_feedback"),
    counted("order__cart", "order"),
    counted("webhook__posts", "feed"),
]
FACEBOOK_OWN_TESTS = frozenset({*_OWN_TESTS, "echo__link", "echo__buttons", "message__of_a_checkbox"})

INSTAGRAM_CASES = [
    *_alike("aWdfZAG1faXRlbToxOklHTWVzc2FnZUlEOjE3", "aWdfZAG1faXRlbToxOklHTWVzc2FnZUlEOj0k", "Instagram"),
    Case(
        "message__story_reply",
        MessageKind.IMAGE,
        "яка краса",
        more={"reply_to_provider_id": None},
        content={
            "media": [media(_STORY, "story", MessageKind.IMAGE)],
            "shared_link": link("story_reply"),
        },
    ),
    Case(
        "message__story_reply_with_an_image",
        MessageKind.IMAGE,
        "",
        content={
            "media": [
                media(_STORY, "story", MessageKind.IMAGE),
                media(f"{_IG}r.jpg", "image", MessageKind.IMAGE),
            ],
            "shared_link": link("story_reply"),
        },
    ),
    Case(
        "message__story_reply_expired",
        MessageKind.TEXT,
        "а де?",
        content={"media": [], "shared_link": link("story_reply")},
    ),
    Case("message__story_reply_without_text", MessageKind.IMAGE, ""),
    Case(
        "message__story_mention",
        MessageKind.IMAGE,
        "",
        content={
            "media": [media(_STORY, "story_mention", MessageKind.IMAGE)],
            "shared_link": link("story_mention"),
        },
    ),
    Case(
        "message__story_mention_without_url",
        MessageKind.TEXT,
        "",
        content={"media": [], "shared_link": link("story_mention")},
    ),
    Case("message__story_shared", MessageKind.IMAGE, "", content={"shared_link": link("post", "Історія")}),
    Case("message__story_shared_by_its_old_name", MessageKind.IMAGE, ""),
    Case(
        "message__post_shared",
        MessageKind.IMAGE,
        "є в наявності?",
        content={
            "media": [media(f"{_ASSETS}?asset_id=1&signature=x", "ig_post", MessageKind.IMAGE)],
            "shared_link": link("post", "Осінні образи"),
        },
    ),
    Case("message__post_shared_as_before", MessageKind.IMAGE, "", content={"shared_link": link("post")}),
    Case(
        "message__post_shared_as_a_page",
        MessageKind.TEXT,
        "",
        content={"media": [], "shared_link": link("post", None, "https://www.instagram.com/p/C0ffee/")},
    ),
    Case("message__post_shared_as_media", MessageKind.VIDEO, "", content={"shared_link": link("post")}),
    Case(
        "message__reel_shared",
        MessageKind.VIDEO,
        "",
        content={
            "media": [media(f"{_ASSETS}?asset_id=9&signature=x", "ig_reel", MessageKind.VIDEO)],
            "shared_link": link("reel", "як це роблять"),
        },
    ),
    Case("message__reel_shared_by_its_short_name", MessageKind.VIDEO, ""),
    Case(
        "message__reel_relative",
        MessageKind.TEXT,
        "",
        content={"media": [], "shared_link": link("reel", "як це роблять")},
    ),
    Case("message__heart", MessageKind.TEXT, "❤️"),
    Case(
        "message__seen_once",
        MessageKind.UNSUPPORTED,
        "Фото чи відео, яке можна подивитися один раз: Instagram показує його лише у своєму застосунку. "
        "Попросіть клієнта надіслати його звичайним повідомленням.",
        unsupported="ephemeral",
    ),
    Case("message__unsupported", MessageKind.UNSUPPORTED, not_shown("Instagram"), unsupported="unsupported"),
    Case(
        "message__unsupported_beside_text",
        MessageKind.UNSUPPORTED,
        f"дивіться\n{not_shown('Instagram')}",
        unsupported="unsupported",
    ),
    counted("message__to_ourselves", "self_test"),
    counted("read__id", "read"),
    counted("read__id_of_nobody", "read"),
    counted("standby__read", "read"),
    counted("webhook__comments", "comments"),
    counted("webhook__comments_of_the_own_login", "comments"),
]
INSTAGRAM_OWN_TESTS = frozenset(
    {*_OWN_TESTS, "echo__heart", "echo__post", "message__by_us_without_a_mark_of_echo"}
)
