"""Takes the picture of the README: a small day of a salon in the real window of a real system."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import httpx2
from playwright.sync_api import Page, sync_playwright

from msgkit.testing.system import System

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "window.png"
DAY = (
    ("oksana", "Оксана Гнатюк", ["Доброго ранку! Чи можна перенести манікюр на пʼятницю?"]),
    ("taras", "Тарас Левченко", ["Добрий день", "Скільки коштує чоловіча стрижка?"]),
    ("daryna", "Дарина", ["Дякую, все дуже сподобалось ❤️"]),
    ("ihor", "Ігор Мельник", ["Ви працюєте в неділю?"]),
    ("olena", "Олена Кравець", ["Добрий день!", "Чи є вільний час завтра після 15:00?"]),
)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="rozmova-picture-") as folder:
        system = System(Path(folder))
        try:
            system.start()
            take(system)
        finally:
            system.stop()
    print(TARGET)
    return 0


def take(system: System) -> None:
    """Write the day, answer one client, photograph."""
    channel = system.channels["salon"]["id"]
    olena = system.account("olena")
    with httpx2.Client(base_url=system.sandbox_url) as phone, sync_playwright() as playwright:
        for client, name, texts in DAY:
            for text in texts:
                write(phone, channel, client, text, name)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 800}, locale="uk-UA", timezone_id="Europe/Kyiv"
        )
        page.goto(system.gateway_url)
        form = page.get_by_test_id("login-form")
        form.locator("input").nth(0).fill(olena.login)
        form.locator("input").nth(1).fill(olena.password)
        form.locator("button[type=submit]").click()
        page.get_by_test_id("chat-row").filter(has_text="Олена Кравець").click()
        answer(page, "Добрий день, Олено! Так, є о 15:30 і о 17:00. Який зручніший?")
        page.locator("[data-direction=out][data-state=sent]").wait_for()
        write(phone, channel, "olena", "О 17:00, будь ласка 🙂", None)
        page.get_by_test_id("message").filter(has_text="О 17:00, будь ласка").wait_for()
        time.sleep(2)  # pace: the message counts as read after a second in view
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=TARGET)
        browser.close()


def write(phone: httpx2.Client, channel: str, client: str, text: str, name: str | None) -> None:
    body = {"text": text} | ({"name": name} if name else {})
    phone.post(f"/control/{channel}/clients/{client}/messages", json=body).raise_for_status()


def answer(page: Page, text: str) -> None:
    box = page.get_by_test_id("composer").locator("textarea")
    box.fill(text)
    box.press("Enter")


if __name__ == "__main__":
    sys.exit(main())
