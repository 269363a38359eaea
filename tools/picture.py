"""Takes the picture of the README: a small day of a salon in the real window of a real system."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import sync_playwright

from msgkit.testing.browser import Operator, launch, new_context
from msgkit.testing.system import System

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "window.png"
DAY = (
    ("oksana", "Оксана Гнатюк", ["Доброго ранку! Чи можна перенести манікюр на пʼятницю?"]),
    ("taras", "Тарас Левченко", ["Добрий день", "Скільки коштує чоловіча стрижка?"]),
    ("daryna", "Дарина", ["Дякую, все дуже сподобалось ❤️"]),
    ("ihor", "Ігор Мельник", ["Ви працюєте в неділю?"]),
    ("olena", "Олена Кравець", ["Добрий день! Готуємо фотосесію 🙂"]),
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
    with httpx2.Client(base_url=system.sandbox_url, timeout=30) as phone, sync_playwright() as playwright:
        for client, name, texts in DAY:
            for text in texts:
                write(phone, channel, client, name=name, text=text)
        write(phone, channel, "olena", kind="photo", file={"generate": "photo"}, caption="Підійде такий фон?")
        browser = launch(playwright)
        ivan = Operator(new_context(browser), system, "ivan")
        olena = Operator(new_context(browser, width=1280, height=800), system, "olena")
        page = olena.page
        for operator in (ivan, olena):
            operator.page.get_by_test_id("chat-row").filter(has_text="Олена Кравець").click()
        page.get_by_test_id("thumb").wait_for()
        olena.composer.fill("Так, звісно! Є час завтра о 15:30 і о 17:00. Який зручніший?")
        olena.composer.press("Enter")
        page.locator("[data-direction=out][data-state=sent]").wait_for()
        write(phone, channel, "olena", kind="voice", file={"generate": "voice"})
        page.get_by_test_id("player").wait_for()
        time.sleep(2)  # pace: the messages count as read after a second in view
        ivan.composer.press_sequentially("…")
        page.get_by_test_id("typing").filter(has_text="Іван").wait_for()
        page.mouse.move(0, 0)
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=TARGET)
        browser.close()


def write(phone: httpx2.Client, channel: str, client: str, **message: Any) -> None:
    phone.post(f"/control/{channel}/clients/{client}/messages", json=message).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
