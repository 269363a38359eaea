"""Files in the chat window: seen, sent, stopped and lost, in a real Chromium against the whole system."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture

pytestmark = pytest.mark.browser

LogIn = Callable[[str], Operator]
THUMB_WITHIN_S = 3.0
"""The figure is 1 s; the rest is the slack of a shared test machine."""


def photo(width: int = 640, height: int = 480) -> bytes:
    """A small real JPEG, never the same colour for the same measures."""
    kept = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(kept, "JPEG")
    return kept.getvalue()


def test_a_photo_from_the_phone(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"ось {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    started = time.monotonic()
    client.do("messages", kind="photo", file={"generate": "photo", "bytes": 400_000}, caption="перше")
    page.get_by_test_id("thumb").first.wait_for()
    assert time.monotonic() - started < THUMB_WITHIN_S
    client.do("messages", album=[{"file": {"generate": "photo"}}, {"file": {"generate": "png"}}])
    expect(page.get_by_test_id("album").get_by_test_id("thumb")).to_have_count(2)
    expect(page.get_by_test_id("message")).to_have_count(3)
    keep_picture(page, "media")

    opener = page.get_by_test_id("photo").first
    opener.click()
    expect(page.get_by_test_id("full")).to_have_attribute("data-loaded", "true")
    first = page.get_by_test_id("lightbox").get_attribute("data-id")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("lightbox")).not_to_have_attribute("data-id", first or "")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("lightbox")).to_have_attribute("data-id", first or "")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("lightbox")).to_have_count(0)
    expect(opener).to_be_focused()


def test_other_kinds_and_a_lost_file(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"різне {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    client.do("messages", kind="voice", file={"generate": "voice"})
    client.do("messages", kind="document", file={"generate": "text", "name": "Рахунок.txt"})
    client.do("messages", kind="location")
    client.do("share-contact", own=True)
    page.get_by_test_id("player").wait_for()
    page.get_by_test_id("file").filter(has_text="Рахунок.txt").wait_for()
    expect(page.get_by_test_id("place")).to_have_attribute("rel", "noopener noreferrer")
    page.get_by_test_id("contact").filter(has_text="підтверджений номер").wait_for()
    with page.expect_download() as download:
        page.get_by_test_id("file").get_by_role("button").click()
    assert download.value.suggested_filename == "Рахунок.txt"
    client.faults({"kind": "vanished"})
    client.do("messages", kind="document", file={"generate": "text"})
    page.get_by_test_id("lost").filter(has_text="Файл втрачено").wait_for()


def test_a_photo_dropped_on_the_dialogue_reaches_the_phone(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"чекаю фото {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    olena.drop("стрижка.jpg", "image/jpeg", photo())
    page.get_by_test_id("chip").filter(has_text="стрижка.jpg").wait_for()
    olena.composer.fill("Ось так")
    olena.composer.press("Enter")
    expect(olena.message("Ось так")).to_have_attribute("data-state", "sent")
    olena.message("Ось так").get_by_test_id("thumb").wait_for()
    expect(page.get_by_test_id("chip")).to_have_count(0)
    assert [(bubble["kind"], bubble["text"]) for bubble in client.got()] == [("photo", "Ось так")]


def test_a_file_nobody_would_carry_is_refused_before_a_byte_goes(
    operator: LogIn, client: ClientPhone
) -> None:
    client.do("messages", text=f"велике {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    olena.drop("порожній.txt", "text/plain", 0)
    page.get_by_test_id("notice").filter(has_text="«порожній.txt» порожній").wait_for()
    olena.drop("кіно.mkv", "application/octet-stream", 25 * 1024**2 + 1)
    page.get_by_test_id("notice").filter(has_text="надсилаємо файли до 25 МБ").wait_for()
    expect(page.get_by_test_id("chip")).to_have_count(0)


def test_a_text_over_the_channels_limit_waits_to_be_shortened(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"розкажіть {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    olena.composer.fill("я" * 4095 + "👋")
    expect(page.get_by_test_id("length")).to_contain_text("4097 / 4096. Забагато на 1 символ.")
    expect(page.get_by_test_id("send")).to_be_disabled()
    olena.composer.fill("я" * 4096)
    expect(page.get_by_test_id("send")).to_be_enabled()


def test_a_stopped_upload_sends_nothing_and_a_reload_tells_what_is_lost(
    operator: LogIn, client: ClientPhone
) -> None:
    client.do("messages", text=f"повільно {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    olena.hold_uploads()
    olena.drop("довге.bin", "application/octet-stream", 3_000)
    page.get_by_test_id("chip").wait_for()
    olena.composer.fill("з файлом")
    olena.composer.press("Enter")
    page.get_by_test_id("cancel-upload").click()
    expect(olena.message("з файлом")).to_have_count(0)
    expect(olena.composer).to_have_value("з файлом")

    olena.drop("ще довше.bin", "application/octet-stream", 3_000)
    page.get_by_test_id("chip").wait_for()
    olena.composer.press("Enter")
    page.get_by_test_id("cancel-upload").wait_for()
    page.reload()
    page.get_by_test_id("lost-files").get_by_role("button", name="Повернути текст").click()
    expect(olena.composer).to_have_value("з файлом")
    assert client.got() == []
