"""Chromium, clients' phones and operators at the window, for the browser tests of the whole system."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from msgkit.runtime.http import authorities
from msgkit.testing.browser import ChromiumMissing, ClientPhone, Operator, launch, new_context
from msgkit.testing.system import System


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except ChromiumMissing as exc:
            pytest.fail(str(exc), pytrace=False)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = new_context(chromium)
    yield context
    context.close()


@pytest.fixture
def client(system: System) -> Iterator[ClientPhone]:
    with httpx2.Client(base_url=system.sandbox_url, timeout=30, verify=authorities()) as http:
        phone = ClientPhone(system, http)
        yield phone
        phone.faults()


@pytest.fixture
def viber_client(system: System) -> Iterator[ClientPhone]:
    with httpx2.Client(base_url=system.sandbox_url, timeout=30, verify=authorities()) as http:
        phone = ClientPhone(system, http, system.viber)
        yield phone
        phone.faults()


@pytest.fixture
def whatsapp_client(system: System) -> Iterator[ClientPhone]:
    with httpx2.Client(base_url=system.sandbox_url, timeout=30, verify=authorities()) as http:
        phone = ClientPhone(system, http, system.whatsapp)
        yield phone
        phone.faults()


@pytest.fixture
def operator(chromium: Browser, system: System) -> Iterator[Callable[[str], Operator]]:
    """Logs somebody in, in a browser profile of his own; no page may have complained in the end."""
    operators: list[Operator] = []

    def log_in(login: str) -> Operator:
        operators.append(Operator(new_context(chromium), system, login))
        return operators[-1]

    yield log_in
    complaints = [line for person in operators for line in person.complaints]
    for person in operators:
        person.page.context.close()
    assert complaints == []
