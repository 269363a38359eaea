"""The client's side of the end-to-end tests: a phone of the sandbox."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2

from msgkit.runtime.http import authorities
from msgkit.runtime.tokens import ServiceTokens
from msgkit.testing.system import System
from msgkit.testing.window import Window

Json = dict[str, Any]


class Phone:
    """One client's phone, talking to one channel's bot."""

    def __init__(self, http: httpx2.AsyncClient, channel_id: str, client: str) -> None:
        self._http = http
        self._base = f"/control/{channel_id}/clients/{client}"
        self.client = client

    async def do(self, action: str, **body: Any) -> Json:
        answer = await self._http.post(f"{self._base}/{action}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def write(self, text: str) -> Json:
        return await self.do("messages", text=text)

    async def state(self) -> Json:
        """The whole phone, as its page shows it."""
        return dict((await self._http.get(f"{self._base}/phone")).json())

    async def shows(self) -> list[Json]:
        return list((await self._http.get(f"{self._base}/messages")).json())

    async def answers(self) -> list[str]:
        """Texts of the bot on this phone, in order."""
        return [bubble["text"] for bubble in await self.shows() if bubble["direction"] == "out"]


def new_client() -> str:
    """The id of a client nobody has met."""
    return f"t{uuid4().hex[:10]}"


class Desk:
    """An operator's window with its socket open, and the means to wait for what it shows."""

    def __init__(self, system: System, login: str) -> None:
        account = system.account(login)
        self.window = Window(system.gateway_url, account.login, account.password)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Desk:
        self._task = asyncio.ensure_future(self.window.run())
        await asyncio.wait_for(self.window.live.wait(), 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.window.aclose()
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def find(self, text: str) -> Json | None:
        """The message with this text, on any screen of this desk."""
        for dialogue in self.window.seen.messages.values():
            for message in dialogue.values():
                if message["text"] == text:
                    return message
        return None

    async def until(self, true: Callable[[], Any], seconds: float = 15) -> Any:
        """What `true` returns when it first is true."""
        return await until(true, seconds)

    async def message(self, text: str, seconds: float = 15) -> Json:
        found = await until(lambda: self.find(text), seconds)
        return dict(found)

    async def wrote(self, phone: Phone, text: str, **more: Any) -> str:
        """The client writes this and his own id; the conversation in which the operator sees it."""
        words = f"{text} {phone.client}"
        await phone.do("messages", text=words, **more)
        return str((await self.message(words))["conversation_id"])

    async def answered(
        self, phone: Phone, conversation: str, text: str, *states: str, seconds: float = 30
    ) -> Json:
        """An answer with the client's id in it that is on the phone, and the window knows it."""
        words = f"{text} {phone.client}"
        await self.window.send(conversation, words)
        message = await self.state(words, *(states or ("sent", "delivered", "read")), seconds=seconds)
        assert words in await phone.answers()
        return message

    async def state(self, text: str, *states: str, seconds: float = 30) -> Json:
        """The message with this text, once it is in one of these states."""
        return await self._once(text, lambda found: found["state"] in states, seconds)

    async def showing(self, text: str, **wanted: Any) -> Json:
        """The message with this text, once it has these values."""
        return await self._once(text, lambda found: all(found[k] == v for k, v in wanted.items()), 15)

    async def _once(self, text: str, is_so: Callable[[Json], bool], seconds: float) -> Json:
        def reached() -> Json | None:
            found = self.find(text)
            return found if found is not None and is_so(found) else None

        try:
            return dict(await until(reached, seconds))
        except TimeoutError as exc:
            raise AssertionError(f"«{text}» within {seconds:g} s is {self.find(text)}") from exc


async def answer_as_a_service(
    system: System, conversation: str, text: str, buttons: list[list[dict[str, str]]]
) -> None:
    """An answer with buttons to a dialogue of the salon, over the internal road that services have."""
    environment = system.parts["gateway"].environment
    keys = json.loads(environment["ROZMOVA_SERVICE_PUBLIC_KEYS"])
    token = ServiceTokens("gateway", environment["ROZMOVA_SERVICE_KEY"], keys).issue(
        "inbox", tenant_id="salon", user_id="u-olena", user_name="Олена", roles=("admin",)
    )
    async with httpx2.AsyncClient(
        base_url=system.internal_url("inbox"), timeout=30, verify=authorities()
    ) as inbox:
        answer = await inbox.post(
            f"/internal/conversations/{conversation}/messages",
            json={"client_msg_id": new_client(), "text": text, "buttons": buttons},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert answer.status_code == 202, answer.text


async def until(true: Callable[[], Any], seconds: float = 15) -> Any:
    """Poll a state with a deadline; returns the first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        await asyncio.sleep(0.02)  # pace: polls a state with a deadline
