"""Templates filled in: the table that the window keeps too, and what only the server must refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.template_text import VALUE_MAX_CHARS, TemplateRefused, fill
from msgkit.contracts.events import OrderedTemplate, TemplateValue
from msgkit.contracts.internal_api import MessageTemplate, TemplatePlace

TABLE = json.loads((Path(__file__).parents[1] / "fixtures/gateway/templates.json").read_text())
TEMPLATES = {name: MessageTemplate.model_validate(one) for name, one in TABLE["templates"].items()}


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["case"])
def test_the_table(case: dict[str, Any]) -> None:
    template = TEMPLATES[case["template"]]
    if "text" in case:
        assert fill(template, case["values"]).text == case["text"]
        return
    with pytest.raises(TemplateRefused) as refused:
        fill(template, case["values"])
    assert (refused.value.code, refused.value.place) == (case["code"], case["place"])
    assert refused.value.text


def test_the_order_has_its_values_in_the_order_of_the_places() -> None:
    values = {"button.0": "b-9", "body.name": "Марку", "body.number": "B-9"}
    assert fill(TEMPLATES["named"], values).order == OrderedTemplate(
        name="order_ready",
        language="uk",
        values=[
            TemplateValue(part="body", index=0, name="number", value="B-9"),
            TemplateValue(part="body", index=0, name="name", value="Марку"),
            TemplateValue(part="button", index=0, name=None, value="b-9"),
        ],
    )


def test_a_place_nobody_knows_is_no_place() -> None:
    """The list the window shows may be older than the template."""
    with pytest.raises(TemplateRefused) as refused:
        fill(TEMPLATES["plain"], {"body.1": "Ірино"})
    assert (refused.value.code, refused.value.place) == ("template_value", "body.1")


def test_the_longest_value_passes_and_a_longer_one_does_not() -> None:
    values = {"button.0": "1", "body.number": "7", "body.name": "я" * VALUE_MAX_CHARS}
    assert fill(TEMPLATES["named"], values).text.endswith("я.")
    with pytest.raises(TemplateRefused) as refused:
        fill(TEMPLATES["named"], values | {"body.name": "я" * (VALUE_MAX_CHARS + 1)})
    assert refused.value.place == "body.name"


def test_many_long_values_are_refused_as_a_whole() -> None:
    """What comes out must be a text inbox takes."""
    places = [
        TemplatePlace(key=f"body.{n}", part="body", index=0, name=None, example="х") for n in range(1, 31)
    ]
    body = " ".join(f"{{{{{n}}}}}" for n in range(1, 31))
    long = TEMPLATES["plain"].model_copy(update={"body": body, "places": places})
    with pytest.raises(TemplateRefused) as refused:
        fill(long, {place.key: "я" * VALUE_MAX_CHARS for place in places})
    assert (refused.value.code, refused.value.place) == ("template_value", None)
