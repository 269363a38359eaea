"""The keys of a messenger's app: read as JSON lists, never shown, never empty."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import ValidationError

from msgkit.connector.settings import AppKeys, AppSettings, IngestSettings
from msgkit.runtime.redaction import redactor
from msgkit.runtime.settings import explain_settings_fault

KEY = base64.b64encode(b"k" * 32).decode()
SECRET, TOKEN = "canary-app-secret-01", "canary-verify-token-01"
ENVIRONMENT = {
    "RABBITMQ_URL": "amqp://rozmova:canary-password@127.0.0.1/",
    "MONGO_URL": "mongodb://127.0.0.1/?replicaSet=rs0",
    "ROZMOVA_INTERNAL_PORT": "0",
    "ROZMOVA_PUBLIC_URL": "http://127.0.0.1",
    "ROZMOVA_INTERNAL_URL": "http://127.0.0.1",
    "ROZMOVA_OBJECTS_URL": "file:///tmp/objects",
    "ROZMOVA_SERVICE_KEY": KEY,
    "ROZMOVA_SERVICE_PUBLIC_KEYS": "{}",
    "ROZMOVA_CREDENTIAL_KEYS": json.dumps({"primary": "k1", "keys": {"k1": KEY}}),
}


class Settings(AppSettings, IngestSettings):
    """As a service of Meta's messengers has them."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_keys_are_read_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROZMOVA_META_APP_SECRETS", json.dumps([SECRET, SECRET[::-1]]))
    monkeypatch.setenv("ROZMOVA_META_VERIFY_TOKENS", json.dumps([TOKEN]))
    settings = Settings()
    keys = settings.app_keys()
    assert keys == AppKeys((SECRET, SECRET[::-1]), (TOKEN,))
    for shown in (repr(settings), repr(keys), redactor.scrub(f"{SECRET} {TOKEN} canary-password")):
        assert "canary" not in shown


def test_without_them_there_are_none() -> None:
    assert Settings().app_keys() == AppKeys()


@pytest.mark.parametrize("name", ["ROZMOVA_META_APP_SECRETS", "ROZMOVA_META_VERIFY_TOKENS"])
def test_an_empty_key_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With an empty secret everybody's signature would be right."""
    for value in ('[""]', '["canary"]'):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError) as refused:
            Settings()
        told = explain_settings_fault(refused.value)
        assert name in told
        assert "at least 8 characters" in told
        assert "canary" not in told
