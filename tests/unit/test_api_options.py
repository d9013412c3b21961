"""What the API is told by the settings, and when it refuses to start."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.api.rate import LocalLimiter, RedisLimiter
from adapters.inbound.keys import KeyFile, NewKey, Role
from adapters.system_clock import SystemClock
from config.settings import Settings
from domain.errors import Invalid
from tests.support.api_keys import bearer
from worker import __version__
from worker.api_options import api_options, is_loopback
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.looks import look_at_workers, without_secret
from worker.processes import api


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(keys_file: Path) -> NewKey:
    return KeyFile(keys_file, SystemClock()).add("tests", frozenset({Role.READ}))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**given: Any) -> Settings:
        return Settings(state_dir=tmp_path, **{"broker_url": "memory://", **given})

    return make


@pytest.fixture
def options() -> Iterator[Callable[[Settings], ApiOptions]]:
    with ExitStack() as held:

        def make(settings: Settings) -> ApiOptions:
            app = create_sending_app(settings)
            services = held.enter_context(build_services(settings, app))
            return api_options(settings, services, app, held)

        yield make


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "api.example", ""])  # noqa: S104 - what is refused
def test_without_keys_an_address_others_can_reach_is_refused(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions], host: str
) -> None:
    with pytest.raises(Invalid, match=r"TRIMTAB_API_KEYS_FILE.+TRIMTAB_API_WITHOUT_KEYS"):
        options(settings(api_host=host))


def test_the_process_itself_refuses_before_it_listens(settings: Callable[..., Settings]) -> None:
    with pytest.raises(Invalid, match="no API keys"):
        api.run(settings(api_host="0.0.0.0", api_port=0))  # noqa: S104 - what is refused


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys_and_answers_to_its_own_names_only(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions], host: str
) -> None:
    made = options(settings(api_host=host))
    assert is_loopback(host)
    assert (made.keys, made.limiter) == (None, None)
    assert set(made.hosts or ()) == {"localhost", "127.0.0.1", "::1", host}


def test_it_may_be_open_where_somebody_says_so(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions]
) -> None:
    made = options(settings(api_host="0.0.0.0", api_without_keys=True))  # noqa: S104 - said so
    assert (made.keys, made.hosts) == (None, None)


@pytest.mark.parametrize("given", [{"api_without_keys": True}, {}])
def test_it_answers_to_the_names_that_the_settings_tell_and_to_no_other(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions], given: dict[str, bool]
) -> None:
    made = options(settings(api_hosts=("desk.example",), **given))
    assert made.hosts is not None
    assert set(made.hosts) == {"desk.example"}


def test_a_socket_that_was_handed_down_is_ours_alone(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions]
) -> None:
    assert options(settings(api_host="0.0.0.0", listen_fd=7)).keys is None  # noqa: S104 - not listened on


def test_with_keys_any_address_and_any_name_will_do(
    settings: Callable[..., Settings],
    options: Callable[[Settings], ApiOptions],
    keys_file: Path,
    key: NewKey,
) -> None:
    made = options(settings(api_host="0.0.0.0", api_keys_file=keys_file))  # noqa: S104 - with keys
    assert made.keys is not None
    assert made.keys.find(key.text) == key.key
    assert made.hosts is None
    assert made.version == __version__


def test_keys_that_cannot_be_read_stop_the_start(
    settings: Callable[..., Settings], options: Callable[[Settings], ApiOptions], keys_file: Path
) -> None:
    with pytest.raises(Invalid, match=r"keys\.json"):
        options(settings(api_keys_file=keys_file))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, LocalLimiter),
        ({"broker_url": "redis://127.0.0.1:1/0"}, RedisLimiter),
        ({"requests_url": "redis://127.0.0.1:1/0"}, RedisLimiter),
        ({"api_calls_per_second": 0}, type(None)),
    ],
)
def test_the_rate_is_shared_where_there_is_a_redis(
    settings: Callable[..., Settings],
    options: Callable[[Settings], ApiOptions],
    keys_file: Path,
    key: NewKey,
    given: dict[str, Any],
    kind: type,
) -> None:
    made = options(settings(api_keys_file=keys_file, **given))
    assert isinstance(made.limiter, kind)
    assert key.text not in repr(made)


def test_health_looks_at_every_part(
    settings: Callable[..., Settings],
    options: Callable[[Settings], ApiOptions],
    tmp_path: Path,
) -> None:
    (tmp_path / "prices.csv").touch()
    made = options(
        settings(
            pricing_url=f"file:{tmp_path}/prices.csv",
            securities_url="",
            accounting_url=f"file:{tmp_path}/nowhere.csv",
            portfolios_url="http://127.0.0.1:1",
            ready_needs=["store", "solver"],
        )
    )
    found = {}
    for part in made.parts:
        try:
            found[part.name] = bool(part.check())
        except Exception:  # noqa: BLE001 - a part that is out, whatever it raises
            found[part.name] = False
    assert found == {
        "solver": True,
        "workers": False,
        "pricing": True,
        "securities": True,
        "accounting": False,
        "portfolios": False,
    }
    assert made.needed == ("store", "solver")


def test_workers_that_answer_are_counted() -> None:
    class Control:
        def ping(self, *, timeout: float) -> list[dict[str, object]]:
            assert timeout > 0
            return [{"a": {"ok": "pong"}}, {"b": {"ok": "pong"}}]

    class App:
        control = Control()

    assert look_at_workers(App()) == "2 answer"  # type: ignore[arg-type]  # all that is asked of it


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mongodb://user:secret@host/db", "mongodb://host/db"),
        ("redis://host:1/0", "redis://host:1/0"),
        ("file", "file"),
    ],
)
def test_a_url_is_told_without_its_secret(url: str, told: str) -> None:
    assert without_secret(url) == told


@pytest.mark.parametrize("origin", ["https://desk.example/", "desk.example", "*", "https://DESK.example"])
def test_an_origin_no_browser_would_send_is_no_setting(
    settings: Callable[..., Settings], origin: str
) -> None:
    with pytest.raises(ValueError, match="api_origins"):
        settings(api_origins=[origin])


def test_the_keys_of_a_file_open_the_whole_application(
    settings: Callable[..., Settings], tmp_path: Path, keys_file: Path, key: NewKey
) -> None:
    chosen = settings(api_keys_file=keys_file, api_calls_per_second=1, api_burst=2)
    with ExitStack() as held:
        app = create_sending_app(chosen)
        services = held.enter_context(build_services(chosen, app))
        services.jobs.prepare()
        client = held.enter_context(
            TestClient(create_app(services, api_options(chosen, services, app, held)))
        )
        assert client.get("/api/v1/jobs").status_code == 401
        answers = [client.get("/api/v1/jobs", headers=bearer(key.text)).status_code for _ in range(3)]
        assert answers == [200, 200, 429]
        KeyFile(keys_file, SystemClock()).revoke(key.key.key_id)
        assert client.get("/api/v1/jobs", headers=bearer(key.text)).status_code == 401
