"""compose.yaml and the Dockerfile, held against what the services ask for; no engine is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

import compose
import gateway.settings
import inbox.settings
import ingest_meta.settings
import ingest_telegram.settings
import ingest_viber.settings
import ingest_whatsapp.settings
import sandbox.settings
from bootstrap import ROOT
from msgkit.testing import containers
from roster import SERVICES
from state import Ports, Secrets

FILE: dict[str, Any] = yaml.safe_load(compose.FILE.read_text())
PARTS: dict[str, dict[str, Any]] = FILE["services"]
APPS = {name: part for name, part in PARTS.items() if "build" in part}
SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": gateway.settings.Settings,
    "inbox": inbox.settings.Settings,
    "ingest-meta": ingest_meta.settings.Settings,
    "ingest-telegram": ingest_telegram.settings.Settings,
    "ingest-viber": ingest_viber.settings.Settings,
    "ingest-whatsapp": ingest_whatsapp.settings.Settings,
    "sandbox": sandbox.settings.Settings,
}
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """What `make up` writes for compose, as Docker reads it back from the file."""
    file = tmp_path / "compose.env"
    ports, secrets = Ports(8080, tmp_path / "ports.json"), Secrets.load(tmp_path / "secrets.env")
    compose.write_environment(ports, secrets, file)
    assert file.stat().st_mode & 0o077 == 0
    lines = (line.split("=", 1) for line in file.read_text().splitlines())
    return {name: value[1:-1].replace("\\'", "'") for name, value in lines}


def substituted(text: str, given: Mapping[str, str]) -> str:
    """A value of compose.yaml with its variables, by the rules of Compose."""

    def value_of(found: re.Match[str]) -> str:
        name, sign, word = found.groups()
        if name in given:
            return given[name]
        assert sign == ":-", f"compose.yaml needs {name}, `make up` does not write it"
        return str(word)

    return _VARIABLE.sub(value_of, text)


def test_every_service_of_the_roster_has_its_container() -> None:
    assert APPS.keys() == {service.name for service in SERVICES}
    for name, part in APPS.items():
        assert part["build"]["args"] == {"SERVICE": name}
        assert (compose.FILE.parent / part["build"]["context"] / part["build"]["dockerfile"]).exists()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_service_starts_with_the_environment_of_its_container(
    name: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [*os.environ]:
        if variable.startswith("ROZMOVA_"):
            monkeypatch.delenv(variable)
    known = {f"ROZMOVA_{field.upper()}" for field in SETTINGS[name].model_fields} | {
        "RABBITMQ_URL",
        "MONGO_URL",
    }
    for variable, value in PARTS[name]["environment"].items():
        assert variable in known, f"{name} does not read {variable}"
        monkeypatch.setenv(variable, substituted(str(value), given))
    assert SETTINGS[name]().model_dump()["host"] == "0.0.0.0"  # noqa: S104 - inside its container


def test_every_variable_is_written_or_has_a_default(given: dict[str, str]) -> None:
    substituted(compose.FILE.read_text(), given)


def test_the_example_names_every_secret(given: dict[str, str]) -> None:
    example = (compose.FILE.parent / "env.example").read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", compose.FILE.read_text()))
    assert {name for name in needed if not re.search(rf"^{name}=", example, re.MULTILINE)} == set()


def test_nothing_listens_beyond_this_machine_and_every_image_is_pinned(given: dict[str, str]) -> None:
    for name, part in PARTS.items():
        for port in part.get("ports", []):
            assert substituted(port, given).startswith("127.0.0.1:"), name
        if "image" in part:
            assert re.search(r":\d+\.\d+\.\d+", part["image"]), name
    assert PARTS["rabbitmq"]["image"] == containers.RABBITMQ_IMAGE
    assert PARTS["mongodb"]["image"] == containers.MONGO_IMAGE


def test_the_services_run_with_as_little_as_they_need() -> None:
    for part in APPS.values():
        assert part["read_only"]
        assert part["cap_drop"] == ["ALL"]
        assert "healthcheck" in part or part["depends_on"] == []


def test_everything_the_image_copies_is_there() -> None:
    for line in (ROOT / "deploy/Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line


def test_the_code_of_an_image_is_complete(tmp_path: Path) -> None:
    """A service runs from its own sources and the kit alone, as they lie in the image."""
    started = []
    for service in SERVICES:
        code = tmp_path / service.name
        members = [service.source] if service.name == "sandbox" else [ROOT / "libs/msgkit", service.source]
        for member in members:
            shutil.copytree(member / "src", code, dirs_exist_ok=True, ignore=shutil.ignore_patterns("static"))
        program = (
            "import sys\n"
            "OURS = {'msgkit', 'sandbox', 'gateway', 'inbox', 'ingest_meta', 'ingest_telegram', "
            "'ingest_viber', 'ingest_whatsapp'}\n"
            "class Only:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name in OURS and not (code / name).exists():\n"
            "            raise ImportError(name + ' is not in this image')\n"
            "import pathlib; code = pathlib.Path(sys.argv[1]); sys.meta_path.insert(0, Only())\n"
            "import importlib; module = importlib.import_module(sys.argv[2])\n"
            "assert module.__file__.startswith(sys.argv[1]), module.__file__\n"
        )
        command = [sys.executable, "-c", program, str(code), f"{service.package}.app"]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
