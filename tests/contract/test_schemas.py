"""The words on the bus do not drift: schemas are committed, and every sample ever committed still parses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

import gen_schemas

SAMPLES = Path(__file__).parent / "samples"
MODELS = {model.model_json_schema()["properties"]["type"]["const"]: model for model in gen_schemas.MESSAGES}


def test_the_committed_schemas_are_those_of_the_code() -> None:
    committed = {file.name: file.read_text() for file in gen_schemas.FOLDER.glob("*.json")}
    assert committed == gen_schemas.schemas(), "run `make schemas` and look at the difference"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_word_has_a_sample(name: str) -> None:
    assert (SAMPLES / f"{name}.json").exists(), "commit one message as it stands on the wire"


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_every_sample_ever_committed_still_parses(file: Path) -> None:
    raw = json.loads(file.read_text())
    parsed = MODELS[raw["type"]].model_validate(raw)
    assert parsed.model_dump(mode="json")["type"] == raw["type"]


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_readers_ignore_what_newer_writers_add(file: Path) -> None:
    raw = json.loads(file.read_text())
    MODELS[raw["type"]].model_validate(raw | {"added_later": 1})


@pytest.mark.parametrize("model", gen_schemas.MESSAGES, ids=lambda model: model.__name__)
def test_no_field_of_an_event_has_a_default(model: type[BaseModel]) -> None:
    """A reader that invents an id or a time would silently end deduplication."""
    assert [name for name, field in model.model_fields.items() if not field.is_required()] == []
