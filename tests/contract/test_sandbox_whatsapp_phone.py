"""What a WhatsApp phone shows and hides: words apart, names of files, late messages, hidden numbers."""

from collections.abc import AsyncIterator

import pytest
from whatsapp_playground import NUMBERS, Stage, whatsapp_settings, whatsapp_stage

LIST = {
    "type": "list",
    "header": {"type": "text", "text": "Послуги"},
    "body": {"text": "Оберіть"},
    "action": {
        "button": "Відкрити",
        "sections": [{"title": "Усі", "rows": [{"id": "r", "title": "Стрижка"}]}],
    },
}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A connected number; Maria shows a username in the place of her phone."""
    hiding = NUMBERS[0].model_copy(update={"hidden_clients": {"maria": "maria_krasa"}})
    settings = whatsapp_settings().model_copy(update={"sandbox_whatsapp_numbers": (hiding, NUMBERS[1])})
    async with whatsapp_stage(settings) as made:
        await made.connect()
        yield made


async def test_a_client_may_hide_the_number_from_the_beginning(stage: Stage) -> None:
    hers = await stage.writes("maria")
    his = await stage.writes("taras")
    assert "from" not in hers
    assert hers["from_user_id"].startswith("UA.")
    assert his["from"] == (await stage.phone("taras"))["phone_number"]
    (contact,) = stage.edge.values()[0]["contacts"]
    assert contact["profile"]["username"] == "@maria_krasa"


async def test_a_late_message_opens_no_window(stage: Stage) -> None:
    late = await stage.writes(text="Писала вчора", hours_ago=25)
    now = await stage.writes("taras")
    assert 24.9 * 3600 < int(now["timestamp"]) - int(late["timestamp"]) < 25.1 * 3600
    assert not (await stage.phone("olena"))["window_open"]
    await stage.sent()
    (status,) = await stage.edge.until_statuses("failed")
    assert status["errors"][0]["code"] == 131047
    await stage.writes(text="А це сьогодні")
    await stage.writes(text="І ще старе", hours_ago=3)
    assert (await stage.phone("olena"))["window_open"]


async def test_words_of_a_list_and_a_template_are_known_apart(stage: Stage) -> None:
    await stage.writes()
    await stage.sent(type="interactive", interactive=LIST)
    shown = (await stage.shows())[-1]
    assert shown["words"] == {"header": "Послуги", "body": "Оберіть"}
    assert (shown["text"], shown["list_button"]) == ("Послуги\nОберіть", "Відкрити")
    values = [{"type": "text", "text": word} for word in ("Олено", "завтра")]
    template = {
        "name": "appointment_reminder",
        "language": {"code": "uk"},
        "components": [{"type": "body", "parameters": values}],
    }
    await stage.sent(type="template", template=template)
    shown = (await stage.shows())[-1]
    assert shown["words"]["body"] == "Вітаємо, Олено! Чекаємо на вас завтра."
    assert shown["words"]["footer"] == "Салон «Мавка»"
    assert "list_button" not in shown


async def test_a_document_is_called_as_its_message_says(stage: Stage) -> None:
    await stage.writes()
    uploaded = await stage.upload("a1b2.txt", b"1 000", "text/plain")
    await stage.sent(type="document", document={"id": uploaded, "filename": "прайс.txt"})
    assert (await stage.shows())[-1]["file"]["name"] == "прайс.txt"
    await stage.sent(type="document", document={"id": uploaded})
    assert (await stage.shows())[-1]["file"]["name"] == "a1b2.txt"
