"""A person at the chat window in a real Chromium, and the client's phone in blocking calls."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright

from msgkit.testing.phone import new_client
from msgkit.testing.system import System

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


SHOWN_WITHIN_S: Final = 15.0
"""How long a phone may wait for what our side says, on a busy machine."""


class ChromiumMissing(Exception):
    """There is no browser on this machine."""


def launch(playwright: Playwright) -> Browser:
    """The machine's own Chromium.

    Raises:
        ChromiumMissing: it is not installed; says how.
    """
    program = shutil.which("chromium")
    if program is None:
        raise ChromiumMissing("Chromium is missing: `make test` installs it, or `apt-get install chromium`.")
    return playwright.chromium.launch(executable_path=program, args=list(FLAGS))


def new_context(browser: Browser, *, width: int = 1440, height: int = 900) -> BrowserContext:
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="uk-UA", timezone_id="Europe/Kyiv"
    )
    context.set_default_timeout(15_000)
    return context


class ClientPhone:
    """A new client of one of the salon's bots, that at Telegram unless another channel is named."""

    def __init__(self, system: System, http: httpx2.Client, channel: dict[str, Any] | None = None) -> None:
        self._http = http
        self.id = new_client()
        self._base = f"/control/{(channel or system.channels['salon'])['id']}/clients/{self.id}"

    def do(self, action: str, **body: Any) -> dict[str, Any]:
        answer = self._http.post(f"{self._base}/{action}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def shows(self) -> list[dict[str, Any]]:
        return list(self._http.get(f"{self._base}/messages").json())

    def open(self) -> dict[str, Any]:
        """Open the chat, where the messenger tells of that; returns the welcome that appears."""
        self.do("open")
        deadline = time.monotonic() + SHOWN_WITHIN_S
        while not (shown := self.shows()):
            assert time.monotonic() < deadline, "no welcome appeared on the phone"
            time.sleep(0.05)  # pace: polls a state with a deadline
        return shown[0]

    def got(self) -> list[dict[str, Any]]:
        """What our side sent to this phone, in order."""
        return [bubble for bubble in self.shows() if bubble["direction"] == "out"]

    def answers(self) -> list[str]:
        return [bubble["text"] for bubble in self.got()]

    def faults(self, *faults: dict[str, Any]) -> None:
        """Break these calls of the messenger from now on; nothing named: all works again."""
        answer = self._http.put("/control/faults", json={"faults": list(faults)})
        assert answer.is_success, answer.text


class Operator:
    """Somebody logged in at the window."""

    def __init__(self, context: BrowserContext, system: System, login: str) -> None:
        self.page: Page = context.new_page()
        self._said: list[str] = []
        self.page.on("console", lambda m: self._said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self._said.append(str(error)))
        account = system.account(login)
        self.name = account.name
        self._account = account
        self.page.goto(system.gateway_url)
        self.log_in()

    def log_in(self) -> None:
        """Fill the form on the screen."""
        account, form = self._account, self.page.get_by_test_id("login-form")
        form.wait_for()
        form.locator("input").nth(0).fill(account.login)
        form.locator("input").nth(1).fill(account.password)
        form.locator("button[type=submit]").click()

    @property
    def complaints(self) -> list[str]:
        """What the page must not say.

        401 of the first refresh is how it learns that nobody is logged in, 409 how it learns of a colleague.
        """
        return [line for line in self._said if "status of 401" not in line and "status of 409" not in line]

    @property
    def composer(self) -> Locator:
        return self.page.get_by_test_id("composer").locator("textarea")

    def open(self, client: ClientPhone) -> Page:
        """Open the chat of a client who has written something with his id in it."""
        self.page.get_by_test_id("chat-row").filter(has_text=client.id).click()
        self.page.get_by_test_id("message").first.wait_for()
        return self.page

    def message(self, text: str) -> Locator:
        return self.page.get_by_test_id("message").filter(has_text=text)

    def choose(self, action: str) -> None:
        """An action of the chat's own menu."""
        self.page.get_by_test_id("chat-menu").click()
        self.page.get_by_role("menuitem", name=action).click()

    def into_channels(self) -> None:
        """The administrator's screen."""
        self.page.get_by_role("button", name="Обліковий запис").click()
        self.page.get_by_role("menuitem", name="Канали").click()
        self.page.get_by_test_id("channels").wait_for()

    def wear(self, theme: Literal["light", "dark"]) -> None:
        """The colours of the window; whoever wears them already need not change."""
        if self.page.evaluate("document.documentElement.dataset.mantineColorScheme") != theme:
            self.page.get_by_role("button", name="Тема:").click()

    def hold_uploads(self) -> None:
        """Files leave the window but never arrive, as in a network that has just gone silent."""
        self.page.route("**/api/v1/uploads", lambda _: None)

    def drop(self, name: str, mime: str, content: bytes | int) -> None:
        """Drop a file on the dialogue, as from the desktop; a number: so many zero bytes."""
        self.page.evaluate(
            """([name, type, bytes]) => {
                const data = new DataTransfer()
                data.items.add(new File([new Uint8Array(bytes)], name, { type }))
                const zone = document.querySelector('[data-testid="drop-zone"]')
                for (const event of ['dragenter', 'dragover', 'drop']) {
                    const options = { dataTransfer: data, bubbles: true, cancelable: true }
                    zone.dispatchEvent(new DragEvent(event, options))
                }
            }""",
            [name, mime, content if isinstance(content, int) else list(content)],
        )


COLOUR_RULES: Final = ("color-contrast", "link-in-text-block")
"""The rules of axe-core that another theme may break; all others look at structure and sizes."""


def accessibility_faults(page: Page, axe: Path, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds wrong with the page as it is now, one line each; best practice included.

    Its text is evaluated by the debugger: the page's strict policy for scripts stays as it is.

    Args:
        axe: the file axe.min.js.
        rules: only these; none named: all of them.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe.read_text())
    found = page.evaluate(
        r"""async (rules) => {
            const only = rules.length ? { runOnly: { type: 'rule', values: rules } } : {}
            const { violations } = await axe.run(document, { resultTypes: ['violations'], ...only })
            return violations.map(({ id, impact, nodes }) => {
                const places = nodes.slice(0, 3).map(({ target, html, failureSummary }) =>
                    `${target} ${html.slice(0, 160)} ${failureSummary.split(/\s*\n\s*/).slice(1, 2)}`)
                return `${impact} ${id}: ${places.join(' | ')}`
            })
        }""",
        list(rules),
    )
    return [str(line) for line in found]


@contextmanager
def in_the_dark(page: Page) -> Iterator[None]:
    """The dark colours for a moment, whatever is open on the page; its own switch may be behind a dialog."""
    scheme = "document.documentElement.dataset.mantineColorScheme"
    before = page.evaluate(scheme)
    page.evaluate(f"{scheme} = 'dark'")
    yield
    page.evaluate(f"(before) => {{ {scheme} = before }}", before)


def keep_picture(page: Page, name: str) -> None:
    """Keep a picture where ROZMOVA_PICTURES says, to be looked at."""
    folder = os.environ.get("ROZMOVA_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
