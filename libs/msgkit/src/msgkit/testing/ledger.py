"""The checker: compares what was promised with what is there. Pure; it knows nothing of how we work.

Words as in RabbitMQ's Jepsen tests: attempt, acked, ok, lost, duplicated, order violations, unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

FINAL_STATES = frozenset({"sent", "delivered", "read", "failed", "unknown"})


@dataclass(frozen=True)
class Answer:
    """An operator's answer: accepted by the gateway with 202, and the state the window shows at the end."""

    client: str
    text: str
    accepted: bool
    state: str


@dataclass(frozen=True)
class Ledger:
    """What happened, told by the outside: the sandbox, the operators, the windows.

    Texts are unique within a client, so they name messages.
    """

    written: Mapping[str, Sequence[str]]
    """client → texts in the order the client wrote them and the messenger had 200 for them."""
    shown: Mapping[str, Sequence[str]]
    """client → inbound texts as the window shows them, in display order."""
    answers: Sequence[Answer]
    """In the order they were accepted, per client."""
    phones: Mapping[str, Sequence[str]]
    """client → texts of ours on the phone, in order."""
    windows: Sequence[Mapping[str, Sequence[str]]] = ()
    """For every socket: client → inbound texts it ended with, in display order."""


@dataclass
class Verdict:
    attempt: int = 0
    acked: int = 0
    ok: int = 0
    lost: int = 0
    duplicated: int = 0
    order_violations: int = 0
    unknown: int = 0
    recovered_s: float = 0.0
    complaints: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.order_violations or self.complaints)

    def line(self) -> str:
        """One line for people and scripts."""
        return (
            f"attempt={self.attempt} acked={self.acked} ok={self.ok} lost={self.lost} "
            f"duplicated={self.duplicated} order_violations={self.order_violations} "
            f"unknown={self.unknown} recovered_s={self.recovered_s:.1f}"
        )


def check(ledger: Ledger) -> Verdict:
    """Hold the ledger against the promises.

    Returns:
        The verdict; `complaints` names the first cases of each kind.
    """
    verdict = Verdict()
    for client, written in ledger.written.items():
        verdict.attempt += len(written)
        verdict.acked += len(written)
        _check_stream(verdict, f"window, from {client}", written, ledger.shown.get(client, ()))
        for number, window in enumerate(ledger.windows):
            _check_copy(verdict, f"socket {number}, from {client}", written, window.get(client, ()))
    for client in {answer.client for answer in ledger.answers}:
        answers = [answer for answer in ledger.answers if answer.client == client]
        _check_answers(verdict, client, answers, ledger.phones.get(client, ()))
    for client in ledger.shown.keys() - ledger.written.keys():
        if ledger.shown[client]:
            _complain(verdict, f"window shows messages of {client}, who wrote nothing")
    return verdict


def _check_stream(verdict: Verdict, where: str, expected: Sequence[str], actual: Sequence[str]) -> None:
    counts = Counter(actual)
    missing = [text for text in expected if not counts[text]]
    repeated = [text for text, count in counts.items() if count > 1]
    foreign = counts.keys() - set(expected)
    verdict.ok += len(expected) - len(missing)
    verdict.lost += len(missing)
    verdict.duplicated += sum(counts[text] - 1 for text in repeated)
    inversions = _inversions(expected, actual)
    verdict.order_violations += inversions
    if missing:
        _complain(verdict, f"{where}: lost {missing[:3]}")
    if repeated:
        _complain(verdict, f"{where}: shown more than once {repeated[:3]}")
    if foreign:
        _complain(verdict, f"{where}: nobody wrote {sorted(foreign)[:3]}")
    if inversions:
        _complain(verdict, f"{where}: {inversions} out of order")


def _check_copy(verdict: Verdict, where: str, expected: Sequence[str], actual: Sequence[str]) -> None:
    if list(expected) != list(actual):
        missing = [text for text in expected if text not in set(actual)]
        differs = next((pair for pair in zip(expected, actual, strict=False) if pair[0] != pair[1]), None)
        _complain(
            verdict,
            f"{where}: the screen has {len(actual)} of {len(expected)}, missing {missing[:3]}, "
            f"first difference (written, shown) {differs}",
        )


def _check_answers(verdict: Verdict, client: str, answers: Sequence[Answer], phone: Sequence[str]) -> None:
    counts = Counter(phone)
    for answer in answers:
        verdict.attempt += 1
        times = counts[answer.text]
        if not answer.accepted:
            if times:
                _complain(verdict, f"phone of {client}: {answer.text!r} was refused and came all the same")
            continue
        verdict.acked += 1
        if answer.state == "unknown":
            verdict.unknown += 1
        if times > 1:
            verdict.duplicated += times - 1
            _complain(verdict, f"phone of {client}: {answer.text!r} came {times} times")
        elif answer.state not in FINAL_STATES:
            verdict.lost += 1
            _complain(verdict, f"answer to {client}: {answer.text!r} hangs in {answer.state!r}")
        elif answer.state == "failed" and times:
            _complain(verdict, f"answer to {client}: {answer.text!r} says failed and came all the same")
        elif answer.state in {"sent", "delivered", "read"} and not times:
            verdict.lost += 1
            _complain(verdict, f"answer to {client}: {answer.text!r} says {answer.state} and never came")
        else:
            verdict.ok += 1
    foreign = counts.keys() - {answer.text for answer in answers}
    if foreign:
        _complain(verdict, f"phone of {client}: nobody wrote {sorted(foreign)[:3]}")
    inversions = _inversions([answer.text for answer in answers], phone)
    verdict.order_violations += inversions
    if inversions:
        _complain(verdict, f"phone of {client}: {inversions} out of order")


def _inversions(expected: Sequence[str], actual: Sequence[str]) -> int:
    """How many times a message stands before one that was written earlier."""
    place = {text: number for number, text in enumerate(expected)}
    places = [place[text] for text in dict.fromkeys(actual) if text in place]
    return sum(1 for before, after in pairwise(places) if after < before)


def _complain(verdict: Verdict, sentence: str) -> None:
    if len(verdict.complaints) < 50:
        verdict.complaints.append(sentence)
