"""Secrets: read from files, and shown by nothing that is printed, raised or logged."""

import ssl
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from adapters.inbound.cli import create_cli
from adapters.stores.open import open_store
from config.broker_tls import broker_tls
from config.celery_settings import celery_settings
from config.settings import FROM_FILES, UnknownSetting, WrongSettings, environment, load_settings
from domain.errors import Invalid, TrimtabError
from domain.ids import JobId
from domain.ports import Token
from tasks.services import Services
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.stack import Stack
from worker.wiring import SettingsWiring

SECRET = "hunter2"
NOBODY = f"desk:{SECRET}@127.0.0.1:1"
OUT = {
    "store_url": f"mongodb://{NOBODY}/trimtab?serverSelectionTimeoutMS=50",
    "broker_url": f"redis://{NOBODY}/0",
    "results_url": f"amqp://{NOBODY}//",
    "requests_url": f"redis://{NOBODY}/1",
    "pricing_url": f"http://{NOBODY}",
    "securities_url": f"http://{NOBODY}",
    "accounting_url": f"https://{NOBODY}",
    "portfolios_url": f"http://{NOBODY}",
}


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "broker-url"
    path.write_text(f"redis://:{SECRET}@mq/0\n")
    return path


# ------------------------------------------------------------------------------------------------ from files


def test_a_url_is_read_from_the_file_that_is_named_for_it(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path
) -> None:
    monkeypatch.setenv("TRIMTAB_BROKER_URL_FILE", str(secret_file))

    settings = load_settings()

    assert settings.broker_url.get_secret_value() == f"redis://:{SECRET}@mq/0"
    assert SECRET not in repr(settings)
    assert load_settings(broker_url="redis://given").broker_url.get_secret_value() == "redis://given"


def test_every_url_may_stand_in_a_file() -> None:
    assert set(FROM_FILES) >= set(OUT)


def test_a_setting_and_its_file_at_once_are_refused(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path
) -> None:
    monkeypatch.setenv("TRIMTAB_BROKER_URL_FILE", str(secret_file))
    monkeypatch.setenv("TRIMTAB_BROKER_URL", "redis://mq")

    with pytest.raises(WrongSettings, match="both set"):
        load_settings()


def test_what_is_no_secret_has_no_file(monkeypatch: pytest.MonkeyPatch, secret_file: Path) -> None:
    monkeypatch.setenv("TRIMTAB_LOG_LEVEL_FILE", str(secret_file))

    with pytest.raises(UnknownSetting, match="TRIMTAB_LOG_LEVEL_FILE"):
        load_settings()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_text(""), "must hold one line"),
        (lambda path: path.write_text(f"{SECRET}\n{SECRET}"), "must hold one line"),
        (lambda path: path.write_bytes(b"\xff\xfe" + SECRET.encode()), "it is no text"),
    ],
    ids=["missing", "empty", "two lines", "no text"],
)
def test_a_file_that_cannot_be_used_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path, write: Callable[[Path], object], said: str
) -> None:
    write(secret_file)
    monkeypatch.setenv("TRIMTAB_BROKER_URL_FILE", str(secret_file))

    with pytest.raises(Invalid, match=said) as refused:
        _ = SettingsWiring().settings

    assert str(secret_file) in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_child_that_is_given_a_setting_does_not_get_the_file_as_well(
    monkeypatch: pytest.MonkeyPatch, secret_file: Path
) -> None:
    monkeypatch.setenv("TRIMTAB_BROKER_URL_FILE", str(secret_file))

    assert environment({})["TRIMTAB_BROKER_URL_FILE"] == str(secret_file)
    assert "TRIMTAB_BROKER_URL_FILE" not in environment({"broker_url": "redis://own"})
    assert "TRIMTAB_API_KEYS_FILE" in environment({"api_keys_file": "keys.json"})


# ------------------------------------------------------------------------------------------------ shown by nothing


def test_printed_settings_show_no_password_of_any_url() -> None:
    settings = load_settings(**OUT)

    for text in (repr(settings), str(settings), repr(settings.model_fields_set)):
        assert SECRET not in text


def test_settings_that_are_wrong_are_told_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OUT.items():
        monkeypatch.setenv(f"TRIMTAB_{name.upper()}", value)
    monkeypatch.setenv("TRIMTAB_LEASE_SECONDS", "1")

    with pytest.raises(Invalid) as refused:
        _ = SettingsWiring().settings
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(ValidationError):
        load_settings()


def ping_store() -> None:
    with closing(open_store(OUT["store_url"], timeout_seconds=0.3)) as store:
        store.ping()


LOOKS: dict[str, Callable[[Services], object]] = {
    "store": lambda _: ping_store(),
    "broker": lambda services: services.tokens.send([Token(JobId("job"), 0)]),
    "result queue": lambda services: services.publisher.ping(),
    "prices": lambda services: services.prices.prices(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_server_that_is_out_is_told_without_its_password(
    look: Callable[[Services], object], capfd: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(**OUT, upstream_retries=0)
    with (
        build_services(settings, create_sending_app(settings)) as services,
        pytest.raises(TrimtabError) as told,
    ):
        look(services)

    shown = "".join(traceback.format_exception(told.value)) + "".join(capfd.readouterr())
    assert SECRET not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"store_url": f"postgres://desk:{SECRET}@db/x"},
        {"pricing_url": f"ftp://desk:{SECRET}@prices"},
        {"accounting_url": f"desk:{SECRET}@books"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(wrong: dict[str, str]) -> None:
    def start() -> None:
        settings = load_settings(broker_url="memory://", **wrong)
        with build_services(settings, create_sending_app(settings)):
            pass

    with pytest.raises((Invalid, ValidationError)) as refused:
        start()

    assert SECRET not in str(refused.value)


# As somebody would paste them, each with a character that means something in a URL.
AWKWARD = (
    *("wxyz#Kq7vJ2pL", "wxyz/Kq7vJ2pL", "wxyz?Kq7vJ2pL", "wxyz@Kq7vJ2pL", "wxyz%Kq7vJ2pL", "wxyz Kq7vJ2pL"),
    *(
        "wxyz[Kq7vJ2pL",
        "wxyz]Kq7vJ2pL",
        "[wxyz]Kq7vJ2pL",
        "wxyz\\Kq7vJ2pL",
        "wxyz\u2100Kq7vJ2pL",
        "wxyz\tKq7vJ2pL",
    ),
    *(
        "8765/Kq7vJ2pL",
        "wxyz@/Kq7vJ2pL",
        "/wxyzKq7vJ2pL",
        "#wxyzKq7vJ2pL",
        "wxyz://Kq7vJ2pL",
        "wxyz;a://Kq7vJ2pL",
    ),
)
MILD = "wx:yz!Kq$7v&J'2(p)L*+=~.-_"
SCHEMES = {name: url.partition("://")[0] for name, url in OUT.items()}


def pieces(password: str) -> set[str]:
    return {password[start : start + 4] for start in range(len(password) - 3)}


@pytest.mark.parametrize("password", AWKWARD)
@pytest.mark.parametrize("name", OUT)
def test_an_awkward_password_is_refused_and_no_piece_of_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, password: str
) -> None:
    for url in (f"{SCHEMES[name]}://desk:{password}@127.0.0.1:1/x", f"{SCHEMES[name]}://:{password}@mq"):
        monkeypatch.setenv(f"TRIMTAB_{name.upper()}", url)
        with pytest.raises(ValidationError) as refused:
            load_settings()
        doctor = CliRunner().invoke(create_cli(SettingsWiring()), ["doctor"])

        assert doctor.exit_code != 0
        assert f"TRIMTAB_{name.upper()}" in doctor.output
        assert "percent-encode" in doctor.output
        shown = (
            "".join(traceback.format_exception(refused.value)) + doctor.output + "".join(capfd.readouterr())
        )
        assert not [piece for piece in pieces(password) if piece in shown]


@pytest.mark.parametrize("name", ["broker", "result queue", "prices"])
@pytest.mark.parametrize("written", [MILD, quote("".join(AWKWARD), safe="")], ids=("mild", "escaped"))
def test_a_password_that_is_written_as_it_must_be_is_told_by_nobody(
    name: str, written: str, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = {setting: url.replace(SECRET, written) for setting, url in OUT.items()}
    settings = load_settings(**{**urls, "store_url": OUT["store_url"]}, upstream_retries=0)
    with (
        build_services(settings, create_sending_app(settings)) as services,
        pytest.raises(TrimtabError) as told,
    ):
        LOOKS[name](services)

    shown = "".join(traceback.format_exception(told.value)) + "".join(capfd.readouterr())
    assert not [piece for piece in pieces(written) | pieces(unquote(written)) if piece in shown]


@pytest.mark.parametrize(
    "url",
    [
        "redis://mq/0",
        "redis://:pw@[::1]:6379/0",
        "redis+socket:///home/me@corp/.trimtab/redis.sock?virtual_host=0",
        "memory://",
        "amqp://desk:p%2Fw@one:5672//;amqp://desk:p%2Fw@two:5672//",
        "kombu+amqps://desk:pw@mq:5671/desk?ssl_ca_certs=/run/ca.pem",
        "sentinel://:pw@one:26379/0",
    ],
)
def test_a_url_that_is_written_as_it_must_be_is_taken(url: str) -> None:
    assert load_settings(broker_url=url).broker_url.get_secret_value() == url


def test_a_set_of_store_servers_is_taken() -> None:
    url = "mongodb://desk:p%40w@one:27017,two:27017/trimtab?replicaSet=rs0"
    assert load_settings(store_url=url).effective_store_url == url


def test_doctor_tells_of_what_is_out_without_a_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = {"store_url": f"sqlite:///{tmp_path / 'store.db'}", "broker_url": "memory://"}
    for name, value in {**OUT, **quick}.items():
        monkeypatch.setenv(f"TRIMTAB_{name.upper()}", value)

    told = CliRunner().invoke(create_cli(SettingsWiring()), ["doctor"])

    assert told.exit_code == 1
    assert "result queue is unavailable" in told.output
    assert SECRET not in told.output


def test_what_up_writes_for_the_other_commands_is_for_its_owner_alone(tmp_path: Path) -> None:
    stack = Stack(state_dir=tmp_path, book=None, settings={"store_url": OUT["store_url"]})  # type: ignore[arg-type]  # not started
    stack._write_stack_file()

    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0


# ------------------------------------------------------------------------------------------------ TLS of brokers


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("redis://mq/0", "redis://mq/0"),
        ("rediss://mq/0", "rediss://mq/0?ssl_cert_reqs=required"),
        ("rediss://mq/0?ssl_cert_reqs=none", "rediss://mq/0?ssl_cert_reqs=none"),
        ("amqp://mq//", "amqp://mq//"),
    ],
)
def test_a_certificate_is_verified_unless_somebody_says_not_to(url: str, given: str) -> None:
    assert broker_tls(url) == (given, None)
    assert celery_settings(load_settings(broker_url=url))["broker_url"] == given


def test_what_rabbitmq_needs_for_tls_is_taken_from_its_url() -> None:
    url, tls = broker_tls("amqps://desk:pw@mq:5671//?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&heartbeat=9")

    assert url == "amqps://desk:pw@mq:5671//?heartbeat=9"
    assert tls == {
        "ca_certs": "/ca.pem",
        "certfile": "/c.pem",
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": "mq",
    }
    assert (broker_tls("amqps://mq//?ssl_cert_reqs=none")[1] or {})["cert_reqs"] is ssl.CERT_NONE
    settings = celery_settings(load_settings(broker_url="amqps://mq//"))
    assert settings["broker_use_ssl"]["cert_reqs"] is ssl.CERT_REQUIRED
    app = create_sending_app(load_settings(broker_url="amqps://mq//"))
    with closing(app.connection_for_write()) as connection:
        assert isinstance(connection.ssl, dict)
        assert connection.ssl["server_hostname"] == "mq"
    app.close()
