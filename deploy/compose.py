"""RabbitMQ and MongoDB of `make up` as containers of compose.yaml, for ROZMOVA_INFRA=docker."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bootstrap import ROOT, Problem, say
from demo_people import (
    sandbox_bots,
    sandbox_instagram_accounts,
    sandbox_pages,
    sandbox_viber_bots,
    sandbox_whatsapp_numbers,
)
from msgkit.testing.infra import engine_answers, require_engine
from msgkit.testing.processes import ServerFailed, write_private
from roster import Addresses
from state import STATE, Ports, Secrets

FILE = ROOT / "deploy/compose.yaml"
ENVIRONMENT = STATE / "compose.env"
_SERVERS = ("rabbitmq", "mongodb")
_UP_SECONDS = "180"
_WHATSAPP_CALLBACK = "http://ingest-whatsapp:8084/webhooks/whatsapp"
_FACEBOOK_CALLBACK = "http://ingest-meta:8083/webhooks/facebook"
_INSTAGRAM_CALLBACK = "http://ingest-meta:8083/webhooks/instagram"
"""Among the containers of the profile `app`."""


def is_used() -> bool:
    """Whether the last `make up` here put its servers into containers."""
    return ENVIRONMENT.exists()


def environment(ports: Ports, secrets: Secrets) -> dict[str, str]:
    """Every variable compose.yaml asks for."""
    values = {
        "ROZMOVA_UID": str(os.getuid()),
        "RABBITMQ_PASSWORD": secrets.values["RABBITMQ_PASSWORD"],
        "RABBITMQ_PORT": str(ports.rabbitmq.amqp),
        "RABBITMQ_MANAGEMENT_PORT": str(ports.rabbitmq.management),
        "MONGO_PORT": str(ports.mongodb),
        "GATEWAY_PORT": str(ports.public(0)),
        "SANDBOX_PORT": str(ports.public(10)),
        "SESSION_KEY": secrets.values["SESSION_KEY"],
        "CREDENTIAL_KEYS_INGEST_TELEGRAM": json.dumps(secrets.credential_keys("ingest-telegram")),
        "CREDENTIAL_KEYS_INGEST_VIBER": json.dumps(secrets.credential_keys("ingest-viber")),
        "CREDENTIAL_KEYS_INGEST_WHATSAPP": json.dumps(secrets.credential_keys("ingest-whatsapp")),
        "CREDENTIAL_KEYS_INGEST_META": json.dumps(secrets.credential_keys("ingest-meta")),
        "META_APP_SECRETS": json.dumps(_of_both_apps(secrets, "APP_SECRET")),
        "META_VERIFY_TOKENS": json.dumps(_of_both_apps(secrets, "VERIFY_TOKEN")),
        "SERVICE_PUBLIC_KEYS": json.dumps(secrets.service_public_keys()),
        "SANDBOX_BOTS": json.dumps(sandbox_bots(secrets), ensure_ascii=True),
        "SANDBOX_VIBER_BOTS": json.dumps(sandbox_viber_bots(secrets), ensure_ascii=True),
        "SANDBOX_WHATSAPP_NUMBERS": json.dumps(
            sandbox_whatsapp_numbers(secrets, _WHATSAPP_CALLBACK), ensure_ascii=True
        ),
        "SANDBOX_PAGES": json.dumps(sandbox_pages(secrets, _FACEBOOK_CALLBACK), ensure_ascii=True),
        "SANDBOX_INSTAGRAM_ACCOUNTS": json.dumps(
            sandbox_instagram_accounts(secrets, _INSTAGRAM_CALLBACK), ensure_ascii=True
        ),
    }
    for name, key in secrets.values.items():
        if name.startswith("SERVICE_KEY_"):
            values[name.upper().replace("-", "_")] = key
    return values


def write_environment(ports: Ports, secrets: Secrets, file: Path = ENVIRONMENT) -> None:
    """Writes them down for `docker compose --env-file`; in apostrophes nothing in a value is expanded."""
    lines = (
        f"{name}='{value.replace(chr(39), chr(92) + chr(39))}'"
        for name, value in environment(ports, secrets).items()
    )
    write_private(file, "\n".join(lines) + "\n")


def start(ports: Ports, secrets: Secrets) -> Addresses:
    """Starts both containers and returns when they are healthy.

    Raises:
        Problem: there is no engine, or a container does not become healthy.
    """
    try:
        require_engine(compose=True)
    except ServerFailed as exc:
        raise Problem(str(exc)) from exc
    write_environment(ports, secrets)
    say("Starting RabbitMQ and MongoDB in containers ...")
    _compose("up", "--detach", "--wait", "--wait-timeout", _UP_SECONDS, *_SERVERS)
    password = secrets.values["RABBITMQ_PASSWORD"]
    return Addresses(
        f"amqp://rozmova:{password}@127.0.0.1:{ports.rabbitmq.amqp}/rozmova",
        f"mongodb://127.0.0.1:{ports.mongodb}/?replicaSet=rs0",
    )


def stop(*, delete: bool) -> list[str]:
    """Removes the containers, and their data too if wanted; says what ran."""
    if not is_used():
        return []
    if not engine_answers():
        raise Problem("The servers run in containers, but no Docker engine answers. Start Docker and repeat.")
    _compose("--profile", "app", "down", "--timeout", "30", *(["--volumes"] if delete else []))
    ENVIRONMENT.unlink()
    return ["the containers"]


def _of_both_apps(secrets: Secrets, word: str) -> list[str]:
    """The services of Meta's messengers read one list: a wrong secret of a right app opens nothing."""
    return [secrets.values[f"{app}_{word}"] for app in ("META", "INSTAGRAM")]


def _compose(*words: str) -> None:
    command = ["docker", "compose", "--env-file", str(ENVIRONMENT), "--file", str(FILE), *words]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        raise Problem(f"`docker compose {' '.join(words)}` failed; it says above why. Mend it and repeat.")
