"""Templates as Graph lists them become ours: places, examples, and why one cannot be sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_whatsapp.templates import to_templates
from msgkit.contracts.internal_api import MessageTemplate

BODY: dict[str, Any] = {
    "type": "BODY",
    "text": "Вітаємо, {{1}}! Чекаємо на вас {{2}}.",
    "example": {"body_text": [["Олено", "завтра о 10:00"]]},
}


def told(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "name": "reminder",
        "language": "uk",
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "POSITIONAL",
        "components": list(components),
        **more,
    }


def read(*components: dict[str, Any], **more: Any) -> MessageTemplate:
    (template,) = to_templates([told(*components, **more)])
    return template


def test_numbered_places_have_their_examples() -> None:
    template = read(
        {"type": "HEADER", "format": "TEXT", "text": "Салон {{1}}", "example": {"header_text": ["Мавка"]}},
        BODY,
        {"type": "FOOTER", "text": "До зустрічі"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "QUICK_REPLY", "text": "Буду"},
                {"type": "URL", "text": "Мапа", "url": "https://x.io/{{1}}", "example": ["https://x.io/17"]},
            ],
        },
    )
    assert (template.header, template.footer, template.buttons) == (
        "Салон {{1}}",
        "До зустрічі",
        ["Буду", "Мапа"],
    )
    assert [(place.key, place.part, place.index, place.name, place.example) for place in template.places] == [
        ("header.1", "header", 0, None, "Мавка"),
        ("body.1", "body", 0, None, "Олено"),
        ("body.2", "body", 0, None, "завтра о 10:00"),
        ("button.1", "button", 1, None, "17"),
    ]
    assert template.unusable is None


@pytest.mark.parametrize(
    ("example", "shown"),
    [
        (["https://x.io/17"], "17"),
        (["17"], "17"),
        (["https://y.io/17"], "https://y.io/17"),
        ([7], ""),
        (None, ""),
    ],
)
def test_example_of_an_address_is_what_must_be_filled_in(example: Any, shown: str) -> None:
    button = {"type": "URL", "text": "Мапа", "url": "https://x.io/{{1}}", "example": example}
    (place,) = read({"type": "BODY", "text": "Вітаємо"}, {"type": "BUTTONS", "buttons": [button]}).places
    assert place.example == shown


def test_named_places_keep_their_names() -> None:
    body = {
        "type": "BODY",
        "text": "Замовлення {{number}} готове, {{ name }}. {{number}}!",
        "example": {"body_text_named_params": [{"param_name": "number", "example": "A-17"}]},
    }
    template = read(body, parameter_format="NAMED")
    assert [(place.key, place.name, place.example) for place in template.places] == [
        ("body.number", "number", "A-17"),
        ("body.name", "name", ""),
    ]


def test_places_are_filled_by_number_wherever_they_stand() -> None:
    template = read({"type": "BODY", "text": "{{2}} {{10}} {{1}} {{2}}"})
    assert [place.key for place in template.places] == ["body.1", "body.2", "body.10"]


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "PAUSED", "DISABLED", "approved", None])
def test_only_approved_ones_are_listed(status: str | None) -> None:
    assert to_templates([told(BODY, status=status)]) == []


@pytest.mark.parametrize(
    ("components", "more", "words"),
    [
        ([{"type": "HEADER", "format": "IMAGE"}, BODY], {}, "зображення"),
        ([{"type": "HEADER", "format": "VIDEO"}, BODY], {}, "відео"),
        ([{"type": "HEADER", "format": "DOCUMENT"}, BODY], {}, "документ"),
        ([{"type": "HEADER", "format": "LOCATION"}, BODY], {}, "місце"),
        ([BODY], {"category": "AUTHENTICATION"}, "кодів входу"),
        ([BODY, {"type": "BUTTONS", "buttons": [{"type": "OTP", "text": "x"}]}], {}, "OTP"),
        ([BODY, {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "x"}]}], {}, "FLOW"),
        ([BODY, {"type": "BUTTONS", "buttons": [{"type": "CATALOG", "text": "x"}]}], {}, "CATALOG"),
        ([BODY, {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "text": "x"}]}], {}, "COPY_CODE"),
        ([BODY, {"type": "CAROUSEL", "cards": []}], {}, "CAROUSEL"),
        ([BODY, {"type": "LIMITED_TIME_OFFER"}], {}, "LIMITED_TIME_OFFER"),
        ([], {}, "без тексту"),
    ],
)
def test_what_cannot_be_sent_says_why(components: list[Any], more: dict[str, Any], words: str) -> None:
    assert words in (read(*components, **more).unusable or "")


def test_plain_buttons_are_no_hindrance() -> None:
    kinds = ["QUICK_REPLY", "URL", "PHONE_NUMBER", "REQUEST_CONTACT_INFO"]
    buttons = {"type": "BUTTONS", "buttons": [{"type": kind, "text": "x"} for kind in kinds]}
    assert read(BODY, buttons).unusable is None


def test_sorted_by_name_and_language() -> None:
    listed = [told(BODY, name="b"), told(BODY, name="a", language="uk"), told(BODY, name="a", language="en")]
    assert [(one.name, one.language) for one in to_templates(listed)] == [
        ("a", "en"),
        ("a", "uk"),
        ("b", "uk"),
    ]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "format", "buttons", "example", "body_text", "url", "components"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(odd=st.lists(_ANY, max_size=4), components=st.lists(_ANY, max_size=4))
def test_anything_may_be_listed(odd: list[Any], components: list[Any]) -> None:
    to_templates([*odd, told(*components)])
