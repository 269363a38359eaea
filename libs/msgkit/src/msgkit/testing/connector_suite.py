"""The exam of a connector: subclass `ConnectorExam` in a test module and say what is special.

What needs a running service (redelivery, journal, the routes of accounts) is proved once for the kit; here
stands what each messenger must prove again.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgkit.connector.contract import (
    Account,
    Connector,
    HearsItself,
    Parsed,
    ServesApp,
    WebhookRequest,
    manifests_of,
    send_mark,
)
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    PayloadInvalid,
    ProviderUnavailable,
    RecipientUnreachable,
    SignatureInvalid,
    Throttled,
)
from msgkit.contracts.events import (
    INBOUND,
    InboundEvent,
    MessageEchoed,
    MessageReceived,
    OutboundMedia,
    SendMessage,
)
from msgkit.contracts.ids import conversation_id
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import AuthorKind, FailureCode, MessageKind, MessageState
from msgkit.testing.wire import Answer, WireFake

RECEIVED_AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 2**53 + 1, 2**70, -(2**70), 1.5, 1e308, "", "x", "\x00", "💇" * 3, [], [None],
    [[]], {}, {"id": None}, [{"type": []}],
]  # fmt: skip


_WORDS = ("type", "event", "field", "status", "action")
"""Keys whose words decide how what stands beside them is read, in every messenger we know."""


@dataclass(frozen=True)
class Case:
    """A fixture and what it must become: a message of this kind, something counted, or quarantine.

    `more` names fields of the event with their values, `content` fields of what it says.
    """

    name: str
    kind: MessageKind | None = None
    text: str = ""
    unsupported: str | None = None
    counted: tuple[str, ...] = ()
    quarantined: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorRow:
    """An answer of the messenger and what it means; `fields` are attributes of the error."""

    name: str
    answer: Answer
    error: type[Exception]
    fields: Mapping[str, Any] = field(default_factory=dict)


_BROKEN: tuple[tuple[Literal["drop", "reset"], type[Exception]], ...] = (
    ("drop", DeliveryUnknown),
    ("reset", DeliveryUnknown),
)


class ConnectorExam(ABC):
    """What one messenger must say of itself to be examined."""

    fixtures: ClassVar[Path]
    """Folder of `<event>__<variant>.json`, each one webhook as it comes."""
    least_fixtures: ClassVar[int] = 40
    cases: ClassVar[Sequence[Case]]
    other_fixtures: ClassVar[frozenset[str]] = frozenset()
    """Fixtures that become something else than one message; the messenger's own tests look at them."""
    account: ClassVar[Account]
    secrets: ClassVar[Sequence[str]]
    """What may never be seen: the canaries among the account's credentials."""
    error_rows: ClassVar[Sequence[ErrorRow]]
    splits_text: ClassVar[bool] = True
    """Whether a text above the limit goes out in parts; else it is refused."""
    tells_blocked: ClassVar[bool] = True
    """Whether the messenger ever says that the client blocked us, and not only that nothing arrives."""
    app_secrets: ClassVar[Sequence[str]] = ()
    """For a messenger that calls one address for all accounts: `signed` uses one of them."""

    # ------------------------------------------------------------ what the messenger says

    @abstractmethod
    def connector(self) -> Connector[Any]:
        """A connector for the pure members; no call is made."""

    @abstractmethod
    def calling(self, api_base: str) -> AbstractAsyncContextManager[tuple[Connector[Any], Account]]:
        """A connector that calls, and an account whose API is at `api_base`."""

    @abstractmethod
    def signed(self, body: bytes) -> Mapping[bytes, bytes]:
        """The headers of an authentic webhook with this body."""

    @abstractmethod
    def forged(self, body: bytes) -> Iterator[Mapping[bytes, bytes]]:
        """Headers of webhooks that are not: none, empty, cut, of another secret, not ASCII, …"""

    @abstractmethod
    def text_of(self, request: Any) -> str:
        """The text a planned request brings to the client."""

    def batch(self, bodies: Sequence[bytes]) -> bytes | None:
        """One webhook with several updates; None for a messenger that sends one at a time."""
        del bodies
        return None

    def echo(self, provider_id: str, mark: str | None) -> bytes:
        """For a messenger that tells us of our own messages: such a webhook, with or without our mark."""
        raise NotImplementedError("a connector that is HearsItself says how it hears itself")

    def answer_of_registration(self) -> Answer:
        """What the messenger answers when a webhook is registered."""
        return Answer(200, b'{"ok":true,"result":true}', {"content-type": "application/json"})

    # ------------------------------------------------------------ the tests

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Cases, rows and limits are the messenger's: pytest asks for them here."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=lambda case: case.name)
        if "row" in metafunc.fixturenames:
            metafunc.parametrize("row", self.error_rows, ids=lambda row: row.name)

    @pytest.fixture
    async def wire(self) -> AsyncIterator[WireFake]:
        """The messenger's API on a real socket."""
        fake = WireFake(lambda _: self.answer_of_registration())
        await fake.start()
        yield fake
        await fake.stop()

    def test_authentic_webhook_is_taken(self) -> None:
        body = b'{"any": "thing"}'
        self.connector().verify(self._request(body, self.signed(body)), self.account)

    def test_forged_webhook_is_refused(self) -> None:
        body = b'{"any": "thing"}'
        forged = list(self.forged(body))
        assert len(forged) >= 5
        for headers in forged:
            with pytest.raises(SignatureInvalid):
                self.connector().verify(self._request(body, headers), self.account)

    def test_account_without_a_secret_takes_nothing(self) -> None:
        body = b"{}"
        bare = replace(self.account, webhook_secret="", previous_secret=None, credentials={})
        for headers in [self.signed(body), *self.forged(body)]:
            with pytest.raises(SignatureInvalid):
                self.connector().verify(self._request(body, headers), bare)

    def test_fixture_becomes(self, case: Case) -> None:
        body = self._fixture(case.name)
        if case.quarantined:
            with pytest.raises(PayloadInvalid):
                self._parsed(body)
            return
        parsed = self._parsed(body)
        assert parsed.counted == case.counted
        if case.kind is None:
            assert parsed.events == ()
            return
        (event,) = parsed.events
        assert isinstance(event, MessageReceived)
        assert (event.content.kind, event.content.text) == (case.kind, case.text)
        assert event.content.unsupported == case.unsupported
        assert (event.tenant_id, event.channel_id) == (self.account.tenant_id, self.account.channel_id)
        assert event.conversation_id == conversation_id(self.account.channel_id, event.contact.key)
        assert len({media.ref for media in event.content.media}) == len(event.content.media)
        for name, value in case.more.items():
            assert getattr(event, name) == value
        for name, value in case.content.items():
            assert getattr(event.content, name) == value
        assert INBOUND.validate_json(event.model_dump_json()) == event

    def test_every_fixture_has_a_case(self) -> None:
        names = {file.stem for file in self.fixtures.glob("*.json")}
        assert len(names) >= self.least_fixtures
        assert all("__" in name for name in names)
        assert names == {case.name for case in self.cases} | self.other_fixtures

    def test_repeat_is_the_same_event(self) -> None:
        """The messenger repeats what we did not confirm, minutes later and through another replica."""
        for _, body in self._readable():
            first = self._parsed(body)
            again = self._parsed(
                body, webhook_id="a" * 32, received_at=datetime(2026, 11, 21, 11, tzinfo=UTC)
            )
            assert [event.event_id for event in first.events] == [event.event_id for event in again.events]
            assert [event.conversation_id for event in first.events] == [
                event.conversation_id for event in again.events
            ]

    def test_batch_is_its_parts_in_order_and_one_unreadable_part_costs_no_other(self) -> None:
        bodies = [body for _, body in self._readable()]
        whole = self.batch(bodies)
        if whole is None:
            return
        parts = [event.event_id for body in bodies for event in self._parsed(body).events]
        assert [event.event_id for event in self._parsed(whole).events] == parts
        broken = self.batch([bodies[0], b'{"surprise": []}', *bodies[1:]])
        assert broken is not None
        parsed = self._parsed(broken)
        assert [event.event_id for event in parsed.events] == parts
        assert parsed.quarantine is not None or parsed.counted

    def test_whole_app_is_signed_for_by_any_of_its_secrets(self) -> None:
        connector = self.connector()
        if not isinstance(connector, ServesApp):
            return
        body = b'{"any": "thing"}'
        signed = self._request(body, self.signed(body))
        connector.verify_app(signed, ["another", *self.app_secrets])
        for secrets in [[], [""], ["another"]]:
            with pytest.raises(SignatureInvalid):
                connector.verify_app(signed, secrets)
        for headers in self.forged(body):
            with pytest.raises(SignatureInvalid):
                connector.verify_app(self._request(body, headers), self.app_secrets)

    def test_parts_of_a_whole_app_say_what_the_webhook_says(self) -> None:
        connector = self.connector()
        if not isinstance(connector, ServesApp):
            return
        for name, body in self._readable():
            parts = connector.split(self._request(body, {}))
            said = [event.event_id for part in parts for event in self._parsed(part.body).events]
            assert said == [event.event_id for event in self._parsed(body).events], name

    def test_echo_with_our_mark_is_a_receipt_and_any_other_a_message(self) -> None:
        if not isinstance(self.connector(), HearsItself):
            return
        mark = send_mark("d" * 32, 2)
        own = self._parsed(self.echo("an-id", mark))
        assert own.events == ()
        (receipt,) = own.receipts
        assert (receipt.provider_id, receipt.state, receipt.mark) == ("an-id", MessageState.SENT, mark)
        for other in (None, "", "another program's word", mark + "x"):
            parsed = self._parsed(self.echo("an-id", other))
            (event,) = parsed.events
            assert isinstance(event, MessageEchoed)
            assert (event.provider_id, event.contact.key) == ("an-id", self.contact_key)
            assert parsed.receipts == ()

    def test_everybody_an_event_is_about_was_seen(self) -> None:
        """Of a messenger whose ids change: the kit knows nobody it was not told of."""
        webhooks = [(name, self._parsed(body)) for name, body in self._readable()]
        if not any(parsed.people for _, parsed in webhooks):
            return
        for name, parsed in webhooks:
            keys = {person.key for person in parsed.people}
            assert {event.contact.key for event in parsed.events if hasattr(event, "contact")} <= keys, name
            for person in parsed.people:
                assert person.key == person.ids[0], name
                assert person.address in person.ids, name
                assert not set(person.ids) & {*person.retired, *person.also}, name

    def test_text_at_the_limit_is_one_part(self) -> None:
        text = self._text(0)
        (request,) = self.connector().plan(self._order(text), self.account)
        assert self.text_of(request) == text

    def test_text_over_the_limit(self) -> None:
        text = self._text(1)
        if not self.splits_text:
            with pytest.raises(MessageRejected) as caught:
                self.connector().plan(self._order(text), self.account)
            assert caught.value.code == FailureCode.TOO_LONG
            return
        limit = self._manifest().limits["text"]
        parts = [self.text_of(request) for request in self.connector().plan(self._order(text), self.account)]
        assert len(parts) == 2
        assert "".join(parts) == text
        assert all(_measure(part, limit.unit) <= limit.value for part in parts)

    def test_file_over_the_limit_is_refused_before_it_is_sent(self) -> None:
        limits = self._manifest().limits
        if "file" not in limits:
            pytest.fail("the manifest must say how big a file may be: limits.file")
        assert limits["file"].unit == "bytes"
        file = OutboundMedia(
            attachment_id="a" * 32,
            key="aa/bb/file",
            kind=MessageKind.FILE,
            name="рахунок.pdf",
            mime="application/pdf",
            size_bytes=limits["file"].value + 1,
            width=None,
            height=None,
            duration_s=None,
        )
        with pytest.raises(MessageRejected) as caught:
            self.connector().plan(self._order("", file), self.account)
        assert caught.value.code == FailureCode.FILE_TOO_BIG

    def test_plan_is_the_same_every_time(self) -> None:
        order = self._order(self._text(1))
        if self.splits_text:
            connector = self.connector()
            assert connector.plan(order, self.account) == connector.plan(order, self.account)

    def test_every_limit_names_its_source(self) -> None:
        for name, limit in self._manifest().limits.items():
            assert limit.source.startswith("https://"), name

    def test_the_table_has_every_class_of_errors(self) -> None:
        classes = {row.error for row in self.error_rows}
        assert {Throttled, RecipientUnreachable, MessageRejected, CredentialsInvalid} <= classes
        assert not self.tells_blocked or any(row.fields.get("blocked") is True for row in self.error_rows)

    async def test_error_row(
        self,
        row: ErrorRow,
        wire: WireFake,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        wire.respond = lambda _: row.answer
        async with self.calling(wire.url) as (connector, account):
            (request,) = connector.plan(self._order("Добрий день"), account)
            with pytest.raises(row.error) as caught:
                await connector.deliver(request, account)
        for name, value in row.fields.items():
            assert getattr(caught.value, name) == value
        of_the_error = f"{caught.value!r} {getattr(caught.value, 'text', '')}"
        said = of_the_error + caplog.text + "".join(capfd.readouterr())
        assert [secret for secret in self.secrets if secret in said] == []
        assert len(wire.calls) == 1, "one call of deliver is one call to the messenger"

    @pytest.mark.parametrize(("does", "error"), _BROKEN)
    async def test_broken_answer_is_never_taken_for_a_refusal(
        self, does: Literal["drop", "reset"], error: type[Exception], wire: WireFake
    ) -> None:
        wire.respond = lambda _: Answer(does=does)
        async with self.calling(wire.url) as (connector, account):
            (request,) = connector.plan(self._order("Добрий день"), account)
            with pytest.raises(error):
                await connector.deliver(request, account)

    async def test_refused_connection_is_certainly_no_delivery(self) -> None:
        async with _closed_port() as url, self.calling(url) as (connector, account):
            (request,) = connector.plan(self._order("Добрий день"), account)
            with pytest.raises(ProviderUnavailable):
                await connector.deliver(request, account)

    async def test_registration_may_be_repeated(self, wire: WireFake) -> None:
        async with self.calling(wire.url) as (connector, account):
            url = f"https://chat.example.com/webhooks/{account.kind}/{account.channel_id}"
            await connector.connect(account, url)
            first = [(call.path, call.fields) for call in wire.calls]
            await connector.connect(account, url)
        assert [(call.path, call.fields) for call in wire.calls] == first * 2

    def test_no_secret_is_in_an_event(self) -> None:
        for name, body in self._readable():
            for event in self._parsed(body).events:
                said = event.model_dump_json()
                assert [secret for secret in self.secrets if secret in said] == [], name

    def test_every_node_of_every_fixture_may_be_anything_or_missing(self) -> None:
        for sample, paths in self._tried():
            for path in paths:
                for value in ODD_VALUES:
                    self._taken_or_refused(_with(sample, path, value))
                self._taken_or_refused(_without(sample, path))

    # Each of the two is made anew for every messenger: Hypothesis wants one test to be one class's.

    def test_any_bytes(self) -> None:
        @given(body=st.binary(max_size=200))
        def taken_or_refused(body: bytes) -> None:
            self._taken_or_refused(body)

        taken_or_refused()

    def test_any_value_at_any_node(self) -> None:
        samples = self._samples()

        @given(data=st.data())
        def taken_or_refused(data: st.DataObject) -> None:
            sample = data.draw(st.sampled_from(samples))
            path = data.draw(st.sampled_from(_nodes(sample)))
            self._taken_or_refused(_with(sample, path, data.draw(_JSON_VALUES)))

        taken_or_refused()

    # ------------------------------------------------------------ tools of the tests

    def _manifest(self) -> Manifest:
        """Of the kind under examination: a connector may serve several."""
        (found,) = [one for one in manifests_of(self.connector()) if one.kind == self.account.kind]
        return found

    def _request(
        self,
        body: bytes,
        headers: Mapping[bytes, bytes],
        webhook_id: str = "w" * 32,
        received_at: datetime = RECEIVED_AT,
    ) -> WebhookRequest:
        return WebhookRequest(headers, body, webhook_id, received_at)

    def _parsed(self, body: bytes, webhook_id: str = "w" * 32, received_at: datetime = RECEIVED_AT) -> Parsed:
        request = self._request(body, self.signed(body), webhook_id, received_at)
        return self.connector().parse(request, self.account)

    def _fixture(self, name: str) -> bytes:
        return (self.fixtures / f"{name}.json").read_bytes()

    def _readable(self) -> Iterator[tuple[str, bytes]]:
        unreadable = {case.name for case in self.cases if case.quarantined}
        for file in sorted(self.fixtures.glob("*.json")):
            if file.stem not in unreadable:
                yield file.stem, file.read_bytes()

    def _tried(self) -> Iterator[tuple[Any, list[tuple[Any, ...]]]]:
        """Each fixture with the nodes changed there: what stands alike in several, in the first of them."""
        known: set[Hashable] = set()
        for sample in self._samples():
            alike = {path: _alike(sample, path) for path in _nodes(sample)}
            yield sample, [path for path, what in alike.items() if what not in known]
            known.update(alike.values())

    def _samples(self) -> list[Any]:
        return [json.loads(file.read_bytes()) for file in sorted(self.fixtures.glob("*.json"))]

    def _taken_or_refused(self, update: Any) -> None:
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        connector = self.connector()
        try:
            if self.app_secrets and isinstance(connector, ServesApp):
                connector.split(self._request(body, {}))
            parsed = self._parsed(body)
        except PayloadInvalid:
            return
        assert parsed.events or parsed.counted or parsed.quarantine is not None
        for event in parsed.events:
            assert isinstance(event, InboundEvent)
            INBOUND.validate_json(event.model_dump_json())

    def _order(self, text: str, *media: OutboundMedia) -> SendMessage:
        return SendMessage(
            type="send.ordered.v1",
            event_id="e" * 32,
            tenant_id=self.account.tenant_id,
            channel_id=self.account.channel_id,
            channel_kind=self.account.kind,
            recorded_at=RECEIVED_AT,
            conversation_id="f" * 32,
            contact_key=self.contact_key,
            message_id="d" * 32,
            out_seq=1,
            author_kind=AuthorKind.OPERATOR,
            client_wrote_at=None,
            text=text,
            media=list(media),
            buttons=[],
            reply_to_provider_id=None,
            place=None,
            shared_contact=None,
            template=None,
            is_reaction=False,
        )

    contact_key: ClassVar[str] = "6021557731"

    def _text(self, over: int) -> str:
        """As long as the limit, and `over` units more, of characters that count twice or more elsewhere."""
        limit = self._manifest().limits["text"]
        wide = "💇"
        count, rest = divmod(limit.value, _measure(wide, limit.unit))
        return wide * count + "a" * (rest + over)


def _measure(text: str, unit: str) -> int:
    match unit:
        case "utf16_units":
            return len(text.encode("utf-16-le")) // 2
        case "bytes":
            return len(text.encode())
        case "chars":
            return len(text)
        case _:
            raise ValueError(f"a text cannot be measured in {unit}")


@asynccontextmanager
async def _closed_port() -> AsyncIterator[str]:
    """An address where nobody listens: bound, so that nobody else can take it, and never listening."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    yield f"http://127.0.0.1:{port}"


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += _nodes(child, (*path, key))
    return found


def _alike(sample: Any, path: tuple[Any, ...]) -> Hashable:
    """What a node is to a reader: where it stands, of which type, beside which keys, under which words."""
    words, keys = [], frozenset[str]()
    for step in path:
        if isinstance(sample, dict):
            said = [sample.get(name) for name in _WORDS]
            words.append(tuple(word if isinstance(word, str) else None for word in said))
            keys = frozenset(sample)
        sample = sample[step]
    return path, type(sample), keys, tuple(words)


def _with(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same with another value at this node; what lies beside the way there is shared."""
    step, *rest = path
    changed = copy.copy(sample)
    changed[step] = _with(sample[step], tuple(rest), value) if rest else value
    return changed


def _without(sample: Any, path: tuple[Any, ...]) -> Any:
    step, *rest = path
    changed = copy.copy(sample)
    if rest:
        changed[step] = _without(sample[step], tuple(rest))
    else:
        del changed[step]
    return changed


_JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
