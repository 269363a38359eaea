"""What our words say when something does not fit them: which field, and never what stood there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from msgkit.contracts.events import INBOUND, SENDS, Contact

WORDS = "ЗАПИШІТЬ МЕНЕ"


def test_a_translation_that_does_not_fit_keeps_the_clients_words_out_of_the_log() -> None:
    with pytest.raises(ValidationError) as caught:
        Contact.model_validate({"key": "1", "name": [WORDS], "username": None, "phone": None, "language": 1})
    assert WORDS not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "of_type"),
    [(INBOUND.validate_json, "message.received.v1"), (SENDS.validate_json, "send.ordered.v1")],
)
def test_a_message_of_the_bus_that_does_not_fit_keeps_its_words_out_of_the_log(
    read: Callable[[str], object], of_type: str
) -> None:
    body = json.dumps(
        {"type": of_type, "text": [WORDS], "tenant_id": [WORDS], "contact": WORDS}, ensure_ascii=False
    )
    with pytest.raises(ValidationError) as caught:
        read(body)
    assert "tenant_id" in str(caught.value)
    assert WORDS not in str(caught.value)
