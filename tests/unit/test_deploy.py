"""What `make up` decides before any server runs: ports, secrets, environments, supervisord.conf."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from bootstrap import Problem
from demo_channels import channels_of
from demo_people import TENANTS, USERS, sandbox_instagram_accounts, sandbox_pages, write_users_file
from roster import SERVICES, Addresses, Process, Service, parse_scale, plan
from state import STATE, Ports, Secrets
from supervision import configuration

ADDRESSES = Addresses(
    "amqp://rozmova:p%40ss@127.0.0.1:10090/rozmova", "mongodb://127.0.0.1:10097/?replicaSet=rs0"
)


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    return Ports(8080, tmp_path / "ports.json")


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.load(tmp_path / "secrets.env")


def test_the_contract_s_ports_follow_from_the_base(ports: Ports) -> None:
    by_name = {service.name: service for service in SERVICES}
    public = {name: ports.public(s.public) for name, s in by_name.items() if s.public is not None}
    internal = {name: ports.internal(s.internal) for name, s in by_name.items() if s.internal is not None}
    ingests = {"ingest-telegram": 81, "ingest-viber": 82, "ingest-meta": 83, "ingest-whatsapp": 84}
    assert public == {"sandbox": 8090, "gateway": 8080, **{name: 8000 + n for name, n in ingests.items()}}
    assert internal == {"inbox": 9085, "gateway": 9080, **{name: 9000 + n for name, n in ingests.items()}}
    assert (ports.rabbitmq.amqp, ports.rabbitmq.epmd, ports.mongodb) == (10090, 10092, 10097)


def test_a_replica_keeps_its_port_until_the_base_moves(ports: Ports) -> None:
    ports.remember()
    port = ports.of_replica("inbox-2.own")
    assert Ports(8080, ports.file).of_replica("inbox-2.own") == port
    moved = Ports(18080, ports.file)
    moved.remember()
    assert json.loads(ports.file.read_text()) == {"base": 18080}


def test_a_replica_s_port_is_none_that_follows_from_the_base(tmp_path: Path) -> None:
    ports = Ports(28_080, tmp_path / "ports.json")
    chosen = [ports.of_replica(f"inbox-{number}.own") for number in range(40)]
    assert len(set(chosen)) == len(chosen)
    assert not set(chosen) & set(range(28_080, 30_180))


@pytest.mark.parametrize("word", ["eighty", "80", "65000", "-1"])
def test_a_senseless_port_base_is_refused(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROZMOVA_PORT_BASE", word)
    with pytest.raises(Problem, match="ROZMOVA_PORT_BASE"):
        Ports.from_environment(running=False)


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    first = Secrets.load(file)
    assert Secrets.load(file) == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(set(first.values.values())) == len(first.values)
    services = {service.name for service in SERVICES} - {"sandbox"}
    assert "ingest-meta" in services
    assert first.service_public_keys().keys() == services
    assert not set(first.service_public_keys().values()) & set(first.values.values())


def test_a_secret_added_later_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    first = Secrets.load(file)
    file.write_text("".join(f"{k}={v}\n" for k, v in first.values.items() if k != "SESSION_KEY"))
    second = Secrets.load(file)
    assert {k: v for k, v in second.values.items() if k != "SESSION_KEY"} == {
        k: v for k, v in first.values.items() if k != "SESSION_KEY"
    }


def test_the_users_file_has_both_tenants_and_every_role(tmp_path: Path, secrets: Secrets) -> None:
    file = tmp_path / "users.json"
    write_users_file(secrets, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = json.loads(file.read_text())
    assert [tenant["id"] for tenant in content["tenants"]] == [tenant.id for tenant in TENANTS]
    assert {user["login"]: user["roles"] for user in content["users"]} == {
        "olena": ["admin"],
        "ivan": ["reception"],
        "viktor": ["viber-only"],
        "nobody": [],
        "maria": ["admin"],
    }
    written = file.stat().st_ino
    write_users_file(secrets, file)
    assert file.stat().st_ino == written  # unchanged, not even written anew


def test_scale_is_read_and_nonsense_is_refused() -> None:
    assert parse_scale("inbox=2 gateway=3") == {"inbox": 2, "gateway": 3}
    assert parse_scale("") == {}
    for text in ("inbox", "inbox=0", "inbox=17", "sandbox=2", "billing=1", "inbox=two"):
        with pytest.raises(Problem, match="SCALE"):
            parse_scale(text)


def _planned(ports: Ports, secrets: Secrets, **scale: int) -> dict[str, Process]:
    return {process.name: process for process in plan(ports, secrets, ADDRESSES, scale)}


def test_each_service_gets_its_own_secrets_only(ports: Ports, secrets: Secrets) -> None:
    processes = _planned(ports, secrets)
    for name, process in processes.items():
        text = "\n".join(process.environment.values())
        for key, value in secrets.values.items():
            its_own = {
                f"SERVICE_KEY_{name}": True,
                "SESSION_KEY": name == "gateway",
                "CREDENTIAL_KEY": name == "ingest-telegram",
                "CREDENTIAL_KEY_ingest-viber": name == "ingest-viber",
                "CREDENTIAL_KEY_ingest-whatsapp": name == "ingest-whatsapp",
                "CREDENTIAL_KEY_ingest-meta": name == "ingest-meta",
                "META_APP_SECRET": name in ("ingest-whatsapp", "ingest-meta", "sandbox"),
                "META_VERIFY_TOKEN": name in ("ingest-whatsapp", "ingest-meta", "sandbox"),
                "INSTAGRAM_APP_SECRET": name in ("ingest-meta", "sandbox"),
                "INSTAGRAM_VERIFY_TOKEN": name in ("ingest-meta", "sandbox"),
            }.get(key, "_TOKEN_" in key and name == "sandbox")
            assert (value in text) is its_own, (name, key)


def test_replicas_share_the_service_s_addresses_and_each_has_one_of_its_own(
    ports: Ports, secrets: Secrets
) -> None:
    processes = plan(ports, secrets, ADDRESSES, {"gateway": 2, "inbox": 3})
    for name, count, public, internal in (("gateway", 2, "8080", "9080"), ("inbox", 3, None, "9085")):
        replicas = [process for process in processes if process.service.name == name]
        assert len(replicas) == count
        for process in replicas:
            assert process.environment.get("ROZMOVA_PUBLIC_PORT") == public
            assert process.environment["ROZMOVA_INTERNAL_PORT"] == internal
            assert process.environment["ROZMOVA_SHARED_PORTS"] == "true"
            assert process.url.endswith(":" + process.environment["ROZMOVA_OWN_PORT"])
        for key in ("ROZMOVA_INSTANCE", "ROZMOVA_OWN_PORT"):
            assert len({process.environment[key] for process in replicas}) == count, key
    alone = next(process for process in processes if process.name == "ingest-telegram")
    assert "ROZMOVA_SHARED_PORTS" not in alone.environment
    assert alone.url == "http://127.0.0.1:9081"


def test_supervisord_reads_back_the_environment_we_wrote(
    ports: Ports, secrets: Secrets, tmp_path: Path
) -> None:
    service = Service("sandbox", tmp_path, 10, None)
    hostile = {"PERCENT": "100%d", "JSON": '{"a": ["б\\u0027", 1]}', "URL": ADDRESSES.rabbitmq, "EMPTY": ""}
    planned = [*plan(ports, secrets, ADDRESSES, {}), Process("odd", service, hostile, "http://127.0.0.1:1")]
    file = tmp_path / "supervisord.conf"
    # supervisord refuses folders that are not there; on a fresh clone `make up` has not made them yet.
    lines = configuration(planned).splitlines()
    moved = [x if x.startswith("environment") else x.replace(str(STATE), str(tmp_path)) for x in lines]
    file.write_text("\n".join(moved))
    (tmp_path / "log").mkdir()

    options = ServerOptions()
    options.realize(["-c", str(file)])
    read = {group.name: group.process_configs[0] for group in options.process_group_configs}

    assert read.keys() == {process.name for process in planned}
    for process in planned:
        assert read[process.name].environment == dict(process.environment)
        assert read[process.name].stopwaitsecs == 40


def test_what_supervisord_cannot_carry_is_refused(tmp_path: Path) -> None:
    service = Service("sandbox", tmp_path, 10, None)
    for value in ("it's", "a ;comment", "two\nlines"):
        with pytest.raises(Problem, match="cannot carry"):
            configuration([Process("odd", service, {"KEY": value}, "http://127.0.0.1:1")])


def test_demo_people_cover_the_roles_of_the_contract() -> None:
    assert {user.tenant for user in USERS} == {tenant.id for tenant in TENANTS}


def test_every_channel_of_the_demo_has_an_account_in_the_sandbox(ports: Ports, secrets: Secrets) -> None:
    processes = _planned(ports, secrets)
    offsets = {service.name: service.public for service in SERVICES}
    for tenant in TENANTS:
        channels = channels_of(tenant, secrets)
        assert len({channel.kind for channel in channels}) == len(channels), "found again by its kind"
        for channel in channels:
            assert channel.public == offsets[channel.service]
            bases = processes[channel.service].environment["ROZMOVA_API_BASES"]
            assert f'8090{channel.api_path}"' in bases
            played = "\n".join(processes["sandbox"].environment.values())
            for name in ("token", "access_token"):
                assert channel.credentials.get(name, "") in played
            for name in ("page_id", "ig_id", "app_secret", "verify_token"):
                assert channel.signing.get(name, "") in played


def test_both_flavours_of_instagram_are_in_the_demo_each_with_its_own_app(secrets: Secrets) -> None:
    by_page, by_login = sandbox_instagram_accounts(secrets)
    (page,) = sandbox_pages(secrets)
    assert (by_page["login"], by_login["login"]) == ("page", "instagram")
    shared = ("page_id", "token", "app_id", "app_secret", "verify_token")
    assert [by_page[name] for name in shared] == [page[name] for name in shared]
    assert by_login["app_secret"] != page["app_secret"]
    assert str(by_login["token"]).startswith("IGAA")


def test_secrets_of_an_older_demo_get_what_is_new_and_keep_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    new = ("INSTAGRAM_", "PAGE_TOKEN_", "SERVICE_KEY_ingest-meta", "CREDENTIAL_KEY_ingest-meta")
    old = {k: v for k, v in Secrets.load(file).values.items() if not k.startswith(new)}
    file.write_text("".join(f"{key}={value}\n" for key, value in old.items()))
    grown = Secrets.load(file).values
    assert {key: grown[key] for key in old} == old
    assert grown["SERVICE_KEY_ingest-meta"]
    assert grown["PAGE_TOKEN_salon"]
