"""Flower comes up for those it is meant for: a password off loopback, look only, bounded labels."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from config.settings import Settings
from domain.errors import Invalid
from worker.processes.flower import MADE_USERS, arguments, flower_users

USER = "desk:a-long-password"


def settings(**changes: Any) -> Settings:
    return Settings(**changes)


def test_on_loopback_nobody_is_asked(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert flower_users(settings(state_dir=tmp_path, flower_host=host)) == ()
    assert list(tmp_path.iterdir()) == []


def test_the_users_of_the_settings_are_asked_everywhere() -> None:
    given = settings(flower_users=f"{USER},night:another-password")
    assert flower_users(given) == [USER, "night:another-password"]
    assert f"--basic_auth={USER},night:another-password" in arguments(given, flower_users(given))


def test_off_loopback_a_user_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    given = settings(state_dir=tmp_path / "state", flower_host="0.0.0.0")  # noqa: S104 - never listened on
    with capture_logs() as logs:
        first, again = flower_users(given), flower_users(given)
    assert first == again
    name, password = first[0].split(":")
    assert name == "operator"
    assert len(password) >= 32
    assert (tmp_path / "state" / MADE_USERS).stat().st_mode & 0o777 == 0o600
    assert password not in str(logs)
    assert str(tmp_path) in str(logs)


def test_off_loopback_without_a_user_and_a_place_for_one_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="TRIMTAB_FLOWER_USERS") as refused:
        flower_users(settings(state_dir=tmp_path / "file", flower_host="10.0.0.7"))
    assert refused.value.code == "open_to_all"


def test_who_says_that_something_else_decides_is_believed(tmp_path: Path) -> None:
    given = settings(state_dir=tmp_path, flower_host="10.0.0.7", flower_without_users=True)
    assert flower_users(given) == ()
    assert not any("basic_auth" in each for each in arguments(given, ()))


@pytest.mark.parametrize(
    "users", ["desk", "desk:short", ":a-long-password", f"{USER},", f" {USER}", f"{USER}, {USER}"]
)
def test_users_that_cannot_be_are_refused_and_not_repeated(users: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(flower_users=users)
    assert "a-long-password" not in refused.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_short_secret_of_the_page_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="at least 32"):
        settings(page_secret=secret)
    assert settings(page_secret="x" * 32).page_secret.get_secret_value() == "x" * 32


def test_flower_looks_only_unless_told_and_lets_go_of_workers_that_are_gone() -> None:
    assert "--read_only=True" in arguments(settings(), ())
    assert "--read_only=False" in arguments(settings(flower_read_only=False), ())
    assert "--purge_offline_workers=900" in arguments(settings(), ())
