"""Each house rule finds its planted violation and leaves the right way alone."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import check_house

INBOX = "services/inbox/src/inbox/store.py"
TELEGRAM = "services/ingest-telegram/src/ingest_telegram/outbound.py"
KIT = "libs/msgkit/src/msgkit/runtime"


@dataclass(frozen=True)
class Case:
    """A file with this text breaks exactly these rules, at these lines."""

    id: str
    path: str
    text: str
    found: tuple[tuple[int, str], ...] = ()
    docstring: bool = True


def _publish(receiver: str) -> str:
    return f"async def f():\n    await {receiver}.publish(b'', 'key')"


PYPI = "py" + "pi.org"
MACHINE = "/wo" + "rk/main/x"

CASES = [
    Case("broker_publish", INBOX, _publish("broker"), ((3, "publish"),)),
    Case("exchange_publish", INBOX, _publish("self._channel.default_exchange"), ((3, "publish"),)),
    Case("exchange_call", INBOX, _publish("(await channel.get_exchange('x'))"), ((3, "publish"),)),
    Case("basic_publish", INBOX, "async def f(c):\n    await c.basic_publish(b'')", ((3, "publish"),)),
    Case("broker_publisher", INBOX, "def f(broker):\n    broker.publisher('q')", ((3, "publish"),)),
    Case("broker_request", INBOX, "async def f(broker):\n    await broker.request('q')", ((3, "publish"),)),
    Case("publish_through_ours", INBOX, _publish("self._publisher")),
    Case("publish_in_bus", f"{KIT}/bus.py", _publish("exchange")),
    Case("publish_elsewhere_in_kit", f"{KIT}/membership.py", _publish("exchange"), ((3, "publish"),)),
    Case("publish_in_tests", "tests/integration/test_x.py", _publish("exchange")),
    Case("motor", INBOX, "import motor.motor_asyncio", ((2, "mongo-import"),)),
    Case("pymongo", INBOX, "from pymongo import errors", ((2, "mongo-import"),)),
    Case("pymongo_in_a_function", INBOX, "def f():\n    import pymongo.errors", ((3, "mongo-import"),)),
    Case("pymongo_at_home", f"{KIT}/mongo.py", "from pymongo import errors"),
    Case("pymongo_in_the_test_kit", "libs/msgkit/src/msgkit/testing/x.py", "import pymongo"),
    Case("pymongo_in_deploy", "deploy/x.py", "import pymongo"),
    Case("pymongo_in_tests", "tests/integration/test_x.py", "import pymongo"),
    Case("settings_at_import", INBOX, "SETTINGS = InboxSettings()", ((2, "built-at-import"),)),
    Case("client_at_import", INBOX, "http = httpx2.AsyncClient()", ((2, "built-at-import"),)),
    Case("broker_as_default", INBOX, "class A:\n    broker = RabbitBroker('x')", ((3, "built-at-import"),)),
    Case("broker_in_try", INBOX, "if True:\n    b = RabbitBroker('x')", ((3, "built-at-import"),)),
    Case("built_in_a_function", INBOX, "def build():\n    return Settings(), AsyncClient()"),
    Case("built_in_main", INBOX, "if __name__ == '__main__':\n    Settings()"),
    Case("config_dict", INBOX, "c = SettingsConfigDict(frozen=True)"),
    Case("broad", INBOX, "try:\n    f()\nexcept Exception:\n    g()", ((4, "broad-except"),)),
    Case(
        "broad_tuple",
        "tools/x.py",
        "try:\n    f()\nexcept (OSError, Exception):\n    g()",
        ((4, "broad-except"),),
    ),
    Case(
        "broad_base", "deploy/x.py", "try:\n    f()\nexcept BaseException:\n    raise", ((4, "broad-except"),)
    ),
    Case("broad_suppress", INBOX, "with contextlib.suppress(Exception):\n    f()", ((2, "broad-except"),)),
    Case("broad_in_kit", f"{KIT}/health.py", "try:\n    f()\nexcept Exception:\n    g()"),
    Case("bare_in_kit", f"{KIT}/health.py", "try:\n    f()\nexcept:\n    raise", ((4, "bare-except"),)),
    Case("narrow", INBOX, "try:\n    f()\nexcept OSError:\n    g()"),
    Case("now", INBOX, "def f():\n    return datetime.now()", ((3, "naive-time"),)),
    Case("now_none", INBOX, "def f():\n    return datetime.now(tz=None)", ((3, "naive-time"),)),
    Case("utcnow", "tests/unit/test_x.py", "def f():\n    return dt.datetime.utcnow()", ((3, "naive-time"),)),
    Case("timestamp", INBOX, "def f():\n    return datetime.fromtimestamp(1)", ((3, "naive-time"),)),
    Case(
        "aware",
        INBOX,
        "def f():\n    return datetime.now(UTC), datetime.fromtimestamp(1, tz=UTC), time.now()",
    ),
    Case("limit_alone", TELEGRAM, "TEXT_LIMIT_CHARS = 4096", ((2, "limit-source"),)),
    Case("limit_max", TELEGRAM, "MAX_BUTTONS: int = 8\nOTHER = 1", ((2, "limit-source"),)),
    Case("limit_doc_only", TELEGRAM, 'LIMIT = 5\n"""Five."""', ((2, "limit-source"),)),
    Case(
        "limit_sourced",
        TELEGRAM,
        'MAX_TEXT = 4096\n"""UTF-16 units. Source: core.telegram.org (read 2026)."""',
    ),
    Case("limit_elsewhere", INBOX, "MAX_ROWS = 100"),
    Case("not_a_limit", TELEGRAM, "CLIMATE = 1\nMAXIMAL = 2\n_NAME_MAX_CHARS = 3"),
    Case("no_docstring", INBOX, "X = 1", ((1, "docstring"),), docstring=False),
    Case("empty_docstring", INBOX, '"""  """\nX = 1', ((1, "docstring"),), docstring=False),
    Case("empty_file", "tests/unit/__init__.py", "", docstring=False),
    Case("utils", "services/inbox/src/inbox/utils.py", "X = 1", ((1, "file-name"),)),
    Case("helpers_ts", "services/gateway/web/src/helpers.ts", "", ((1, "file-name"),), docstring=False),
    Case("common_folder", "services/inbox/src/inbox/common/x.py", "X = 1", ((1, "file-name"),)),
    Case("base_test", "tests/unit/base.py", "X = 1", ((1, "file-name"),)),
    Case("kustomize_base", "k8s/base/x.yaml", "a: 1", docstring=False),
    Case("sleep", "tests/unit/test_x.py", "async def f():\n    await asyncio.sleep(1)", ((3, "sleep"),)),
    Case("sleep_imported", "tests/unit/test_x.py", "def f():\n    sleep(1)", ((3, "sleep"),)),
    Case("sleep_paced", "tests/unit/test_x.py", "def f():\n    time.sleep(1)  # pace: 10 per second"),
    Case("sleep_paced_above", "tests/unit/test_x.py", "def f():\n    # pace: load\n    time.sleep(1)"),
    Case("sleep_in_product", INBOX, "async def f():\n    await asyncio.sleep(1)"),
    Case("registry", "docs/x.md", f"see https://{PYPI}/simple", ((1, "registry-address"),), docstring=False),
    Case("machine_path", "Makefile", f"all:\n\tcat {MACHINE}", ((2, "machine-path"),), docstring=False),
    Case("machine_path_quoted", INBOX, f"P = '{MACHINE}'", ((2, "machine-path"),)),
    Case("relative_path", "docs/x.md", "src/work/x https://e.org/root/x", docstring=False),
    Case("broken", INBOX, "def f(:", ((2, "syntax"),)),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_rule(repository: Path, case: Case) -> None:
    _write(repository, case.path, f'"""Its job."""\n{case.text}\n' if case.docstring else case.text)
    found = list(check_house.check(repository))
    assert tuple((one.line, one.rule) for one in found) == case.found
    assert all(str(one).startswith(f"{case.path}:{one.line} {one.rule} ") for one in found)


def test_ignored_and_binary_files_are_left_alone(repository: Path) -> None:
    _write(repository, ".gitignore", "out/\n")
    _write(repository, "out/utils.py", "X = 1")
    (repository / "picture.png").write_bytes(b"\x89PNG\0" + PYPI.encode())
    assert list(check_house.check(repository)) == []


def test_the_program_prints_and_counts(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_house.main(repository) == 0
    _write(repository, "tools/misc.py", '"""Its job."""\n')
    assert check_house.main(repository) == 1
    assert capsys.readouterr().out.startswith("tools/misc.py:1 file-name ")


def test_a_connector_answers_every_rule_and_done_names_what_shows_it(repository: Path) -> None:
    _write(repository, "tests/unit/test_x.py", '"""Its job."""\n\n\ndef test_shown() -> None:\n    pass\n')
    _write(repository, "docs/channels/toy.md", "# Toy\n")
    lines = dict.fromkeys(check_house.QUALITY_RULES, "done  # test_shown")
    lines["operator-manual"] = "done  # docs/channels/toy.md"
    lines["media-host-allow-list"] = '"exempt: it has no files at all"'

    def found() -> list[tuple[str, str]]:
        text = "toy:\n" + "".join(f"  {rule}: {answer}\n" for rule, answer in lines.items())
        _write(repository, "services/ingest-toy/QUALITY.yaml", text)
        return [(one.rule, one.message) for one in check_house.check(repository)]

    assert found() == []
    lines["dedup-id"] = "todo"
    assert found() == []
    lines["dedup-id"] = "done  # test_gone"
    assert found() == [("quality", "dedup-id: test_gone does not exist")]
    lines["dedup-id"] = "done  # believe me"
    assert found() == [("quality", "dedup-id: done, but no test or file shows it")]
    lines["dedup-id"] = '"exempt: no"'
    assert found() == [("quality", "dedup-id: say done, todo, or exempt: and why")]
    del lines["dedup-id"]
    assert found() == [("quality", "toy says nothing of dedup-id")]
