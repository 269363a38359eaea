"""The fault test: clients write, operators answer, everything is killed, and the ledger is held against it.

One run: a burst of messages from many clients through the real webhook road; windows watch; one of them
answers a part of the messages; meanwhile every part of the system is killed with SIGKILL in a seeded order
and started again, replicas leave by SIGTERM and join, or all of them are restarted in turn as a new version
is rolled out. Then everything must settle, and `ledger.check` has the last word.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2

from msgkit.testing.ledger import FINAL_STATES, Answer, Ledger, Verdict, check
from msgkit.testing.system import Left, System
from msgkit.testing.window import Tally, Window, WindowRefused

Json = dict[str, Any]

SERVICES = ("inbox", "ingest-telegram", "gateway")
TARGETS = ("ingest-telegram", "inbox", "gateway", "rabbitmq", "mongodb")
_PREFIX = "питання"
_SUPERVISOR_EVERY_S = 0.3
_AWAY_S = 2.0
_APART_S = 1.0


@dataclass(frozen=True)
class Plan:
    """One fault run.

    Args:
        seed: the same seed, the same schedule of kills and faults.
        clients, messages: how many clients write how many messages altogether.
        rate_per_s: of the writing.
        kills_each: SIGKILLs of every target.
        answer_every: every n-th message of a client is answered.
        windows: sockets that watch.
        targets: what is killed; "mongodb+inbox" kills both, one after the other, before either is back.
        leaves: parts that leave by SIGTERM, each once, stay away for some seconds and join again.
        rolling: first of all, restarts by SIGTERM, one part after the other, the next when all are ready.
        rest_per_s: calls of windows that only read, beside those of the answers.
        api_faults: scripted faults of the messenger's answers and webhooks.
        settle_s: how long the system may take to settle after the last fault.
    """

    seed: int = 1
    clients: int = 50
    messages: int = 2000
    rate_per_s: float = 40.0
    kills_each: int = 2
    answer_every: int = 4
    windows: int = 3
    targets: Sequence[str] = TARGETS
    leaves: Sequence[str] = ()
    rolling: int = 0
    rest_per_s: float = 0.0
    api_faults: Sequence[Json] = ()
    settle_s: float = 120.0

    @property
    def per_client(self) -> int:
        return max(1, self.messages // self.clients)


API_FAULTS: tuple[Json, ...] = (
    {"kind": "429", "method": "sendMessage", "retry_after": 1, "probability": 0.02},
    {"kind": "500", "method": "sendMessage", "probability": 0.02},
    {"kind": "accept_then_drop", "method": "sendMessage", "probability": 0.02},
    {"kind": "reset", "method": "sendMessage", "probability": 0.02},
    {"kind": "duplicate", "probability": 0.05},
)
"""What a bad day of the messenger looks like; a hang takes as long as the connector's patience."""


@dataclass
class Run:
    """What a run left behind, beside the verdict."""

    verdict: Verdict
    kills: list[tuple[float, str]] = field(default_factory=list)
    resyncs: int = 0
    resumes: int = 0
    gaps: int = 0
    left: list[Left] = field(default_factory=list)
    """Every end by SIGTERM."""
    rest: Tally = field(default_factory=Tally)
    """Calls of all windows while the replicas were restarted in turn, before anything was killed."""
    webhooks: Tally = field(default_factory=Tally)
    restarts_under_load: int = 0
    """Of `rolling`, begun while clients were still writing; windows read and answer all the time."""

    @property
    def slowest_exit_s(self) -> float:
        return max((left.seconds for left in self.left), default=0.0)

    @property
    def unclean_exits(self) -> list[Left]:
        return [left for left in self.left if left.exit_code != 0]


def run(
    system: System, plan: Plan, say: Callable[[str], None] = lambda _: None, *, channel_id: str = ""
) -> Run:
    """Run a plan against a started system and judge it.

    Args:
        channel_id: a channel of the salon nobody has written to; without it that of its own bot. Whatever
            dialogue begins during the run is judged, in any channel; those of before are not.
    """
    return asyncio.run(_Chaos(system, plan, say, channel_id or system.channels["salon"]["id"]).run())


class _Chaos:
    def __init__(self, system: System, plan: Plan, say: Callable[[str], None], channel_id: str) -> None:
        self._system = system
        self._plan = plan
        self._say = say
        self._dice = random.Random(plan.seed)
        self._channel = channel_id
        self._of_before: set[str] = set()
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        self._kills: list[tuple[float, str]] = []
        self._sandbox = httpx2.AsyncClient(base_url=system.sandbox_url, timeout=30)
        self._down: set[str] = set()
        self._left: list[Left] = []
        self._restarts_under_load = 0

    async def run(self) -> Run:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._sandbox.aclose)
            windows = [self._window("olena" if n % 2 == 0 else "ivan") for n in range(self._plan.windows)]
            readers = [self._window(login) for login in ("olena", "ivan")] if self._plan.rest_per_s else []
            for window in (*windows, *readers):
                stack.push_async_callback(window.aclose)
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(window.run()) for window in windows]
                supervising = tasks.create_task(self._supervise())
                async with asyncio.timeout(60):
                    for window in windows:
                        await window.live.wait()
                self._of_before = {row["id"] for row in await windows[0].all_rows()}
                await asyncio.to_thread(self._system.rabbitmq.wait_until_on_disk, "inbox.inbound.p15.v1")
                await self._control("PUT", "/control/faults", self._faults(self._plan.api_faults))
                answering = tasks.create_task(self._answer(windows[0]))
                reading = [
                    tasks.create_task(self._read(reader, self._plan.rest_per_s / len(readers)))
                    for reader in readers
                ]
                burst = await self._start_burst()
                began = time.monotonic()
                await self._roll(burst)
                calls = (
                    sum((window.tally for window in (*windows, *readers)), Tally()),
                    await self._webhooks(),
                )
                writing_s = self._plan.messages / self._plan.rate_per_s
                await self._disturb(began + writing_s - time.monotonic())
                await self._until_written(burst)
                calm_since = time.monotonic()
                await self._control("PUT", "/control/faults", self._faults(()))
                ledger = await self._settle(windows, answering)
                verdict = check(ledger)
                verdict.recovered_s = time.monotonic() - calm_since
                for window in windows:
                    await window.aclose()
                for task in (*watching, *reading, supervising, answering):
                    task.cancel()
        return Run(
            verdict,
            self._kills,
            sum(window.seen.resyncs for window in windows),
            sum(window.seen.resumes for window in windows),
            sum(window.seen.gaps for window in windows),
            self._left,
            *calls,
            self._restarts_under_load,
        )

    def _window(self, login: str) -> Window:
        account = self._system.account(login)
        return Window(self._system.gateway_url, account.login, account.password)

    def _faults(self, faults: Sequence[Json]) -> Json:
        return {"seed": self._plan.seed, "faults": list(faults)}

    async def _control(self, method: str, path: str, body: Json | None = None) -> Any:
        answer = await self._sandbox.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    async def _start_burst(self) -> str:
        started = await self._control(
            "POST",
            f"/control/{self._channel}/burst",
            {
                "clients": self._plan.clients,
                "messages_per_client": self._plan.per_client,
                "rate_per_s": self._plan.rate_per_s,
                "text_prefix": _PREFIX,
                "seed": self._plan.seed,
            },
        )
        return str(started["id"])

    async def _until_written(self, burst: str) -> None:
        """Until everything is written and every webhook was answered with 2xx at last."""
        until = time.monotonic() + self._plan.settle_s + self._plan.messages / self._plan.rate_per_s
        while True:
            progress = await self._control("GET", f"/control/burst/{burst}")
            if progress["state"] != "running" and progress["pending"] == 0:
                if progress["dropped"] or progress["refused"]:
                    raise AssertionError(f"the messenger gave messages up: {progress}")
                return
            if time.monotonic() > until:
                raise TimeoutError(f"webhooks are still not accepted: {progress}")
            await asyncio.sleep(0.2)

    async def _disturb(self, seconds: float) -> None:
        """Kill every target `kills_each` times and let replicas leave, over the rest of the writing."""
        schedule = [(target, True) for target in self._plan.targets for _ in range(self._plan.kills_each)]
        schedule += [(name, False) for name in self._plan.leaves]
        self._dice.shuffle(schedule)
        started = time.monotonic()
        seconds = max(seconds, _APART_S * len(schedule))
        for number, (target, by_kill) in enumerate(schedule):
            due = started + seconds * (number + 0.5 + self._dice.uniform(-0.3, 0.3)) / len(schedule)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._say(f"{time.monotonic() - started:5.1f} s  {'SIGKILL' if by_kill else 'SIGTERM'} {target}")
            if by_kill:
                self._kills.append((round(time.monotonic() - started, 1), target))
                await self._kill(target)
            else:
                await self._leave(target, away_s=self._dice.uniform(1.0, 3.0))

    async def _kill(self, target: str) -> None:
        self._down |= set(target.split("+"))
        for part in target.split("+"):
            await asyncio.to_thread(self._system.kill, part)
            # A dead part stays away for a moment, so that others meet its absence.
            await asyncio.sleep(_AWAY_S if "+" in target else self._dice.uniform(0.0, 1.0))
        for part in target.split("+"):
            await asyncio.to_thread(self._system.revive, part)
        self._down -= set(target.split("+"))

    async def _leave(self, name: str, away_s: float) -> None:
        # One that is just starting has nothing to leave: a signal ends it like any program.
        others = self._system.parts.keys() - {name}
        await asyncio.to_thread(partial(self._system.wait_ready, without=others))
        self._down.add(name)
        left = await asyncio.to_thread(self._system.leave, name)
        self._left.append(left)
        self._say(f"         {name} ended after {left.seconds:.1f} s with {left.exit_code}")
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self._system.revive, name)
        self._down.discard(name)

    async def _roll(self, burst: str) -> None:
        """Restart one replica after the other, as a new version is rolled out."""
        replicas = [self._system.replicas_of(service) for service in SERVICES]
        # Not two of one service in a row: that is what an orchestrator waits with, too.
        turns = [
            names[number]
            for number in range(max(map(len, replicas)))
            for names in replicas
            if number < len(names)
        ]
        for number in range(self._plan.rolling):
            progress = await self._control("GET", f"/control/burst/{burst}")
            self._restarts_under_load += progress["state"] == "running"
            await self._leave(turns[number % len(turns)], away_s=0.0)
            await asyncio.to_thread(self._system.wait_ready)

    async def _read(self, reader: Window, per_s: float) -> None:
        """Call as windows do that are opened and looked through, whatever is going on."""
        conversation = ""
        paths = itertools.cycle(
            ("/bootstrap", "/conversations", "/conversations/{}/messages", "/me/settings")
        )
        for number, path in enumerate(paths):
            if "{}" in path and not conversation:
                continue
            params: dict[str, str | int] | None = {"list": "active"} if path == "/conversations" else None
            try:
                answer = await reader.call("GET", path.format(conversation), None, params)
            except (WindowRefused, httpx2.TransportError):
                pass  # counted
            else:
                if path == "/conversations" and answer["items"]:
                    conversation = str(answer["items"][number % len(answer["items"])]["id"])
            await asyncio.sleep(1 / per_s)

    async def _webhooks(self) -> Tally:
        """How the webhooks ended; the faults we ordered ourselves are not among them."""
        tally, after = Tally(), 0
        while entries := await self._control("GET", f"/control/ledger?after={after}&limit=5000"):
            after = entries[-1]["seq"]
            for entry in entries:
                if entry["type"] == "webhook":
                    tally.calls += 1
                    tally.server_errors += (entry["status"] or 0) >= 500
                    tally.broken += entry["status"] is None
        return tally

    async def _supervise(self) -> None:
        """Start again what ended by itself, as the supervisor of `make up` does."""
        while True:
            await asyncio.sleep(_SUPERVISOR_EVERY_S)
            if not self._down & {"rabbitmq", "mongodb"}:
                for name in await asyncio.to_thread(self._system.keep_alive, frozenset(self._down)):
                    self._say(f"         {name} ended by itself and was started again")

    async def _answer(self, window: Window) -> None:
        """Answer every n-th message of each client, in order, over every outage."""
        answered: set[str] = set()
        busy: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                for conversation_id, due in self._due_answers(window, answered):
                    running = busy.get(conversation_id)
                    if running is None or running.done():
                        answered.update(text for _, text in due)
                        busy[conversation_id] = tasks.create_task(self._reply(window, conversation_id, due))
                await asyncio.sleep(0.1)

    def _due_answers(self, window: Window, answered: set[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        for conversation_id in list(window.seen.messages):
            due = []
            for text in window.seen.texts(conversation_id, "in"):
                client, number = _parse(text)
                if client and number % self._plan.answer_every == 0 and text not in answered:
                    due.append((client, text))
            if due:
                yield conversation_id, due

    async def _reply(self, window: Window, conversation_id: str, due: Sequence[tuple[str, str]]) -> None:
        for client, text in due:
            answer = f"відповідь на {text}"
            try:
                await window.send(conversation_id, answer, patience_s=self._plan.settle_s)
                accepted = True
            except WindowRefused as exc:
                self._say(f"         an answer was refused: {exc}")
                accepted = False
            self._answers[client].append(Answer(client, answer, accepted, ""))

    async def _settle(self, windows: Sequence[Window], answering: asyncio.Task[None]) -> Ledger:
        """Wait until nothing moves any more, or the patience ends; then write the ledger down."""
        until = time.monotonic() + self._plan.settle_s
        expected = self._plan.clients * (self._plan.per_client // self._plan.answer_every)
        reader = windows[0]
        while True:
            ledger = await self._write_ledger(reader, windows)
            done = sum(len(answers) for answers in self._answers.values())
            settled = (
                done >= expected
                and all(answer.state in FINAL_STATES for answer in ledger.answers if answer.accepted)
                and check(ledger).clean
            )
            if settled or time.monotonic() > until or answering.done():
                return ledger
            await asyncio.sleep(0.5)

    async def _write_ledger(self, reader: Window, windows: Sequence[Window]) -> Ledger:
        shown: dict[str, list[str]] = {}
        states: dict[str, str] = {}
        client_of: dict[str, str] = {}
        for row in await reader.all_rows():
            if row["id"] in self._of_before:
                continue
            messages = await reader.all_messages(row["id"])
            inbound = [str(m["text"]) for m in messages if m["direction"] == "in"]
            if not inbound:
                continue
            client = _parse(inbound[0])[0] or inbound[0]
            client_of[row["id"]] = client
            shown[client] = inbound
            states |= {m["text"]: m["state"] for m in messages if m["direction"] == "out"}
        written = {
            f"c{number}": [f"{_PREFIX} c{number} {k}" for k in range(1, self._plan.per_client + 1)]
            for number in range(self._plan.clients)
        }
        answers = [
            Answer(a.client, a.text, a.accepted, states.get(a.text, "missing"))
            for client_answers in self._answers.values()
            for a in client_answers
        ]
        phones = {}
        for client in written:
            bubbles = await self._control("GET", f"/control/{self._channel}/clients/{client}/messages")
            phones[client] = [bubble["text"] for bubble in bubbles if bubble["direction"] == "out"]
        screens = [
            {
                client: window.seen.texts(conversation_id, "in")
                for conversation_id, client in client_of.items()
            }
            for window in windows
        ]
        return Ledger(written, shown, answers, phones, screens)


def _parse(text: str) -> tuple[str, int]:
    """(client, number) of a text of the burst; ("", 0) of anything else."""
    words = text.split(" ")
    if len(words) == 3 and words[0] == _PREFIX and words[2].isdigit():
        return words[1], int(words[2])
    return "", 0
