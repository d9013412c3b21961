"""API keys: what is kept of them, what is taken for one, and when a change of the file counts."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from adapters.inbound.cli.keys import add_key_commands
from adapters.inbound.keys import GRANTS, ApiKey, KeyFile, KeyRing, Role, read_keys
from domain.errors import Invalid, NotFound
from tests.support.claimers import together

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
READ = frozenset({Role.READ})


@dataclass
class Clock:
    time: datetime = NOON

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "keys.json"


@pytest.fixture
def file(path: Path, clock: Clock) -> KeyFile:
    return KeyFile(path, clock)


# ------------------------------------------------------------------------------------------------ looking up


def test_a_key_is_found_with_its_roles(file: KeyFile, path: Path, clock: Clock) -> None:
    made = file.add("nightly", frozenset({Role.SUBMIT, Role.READ}))
    found = KeyRing(path, clock).find(made.text)
    assert found == made.key
    assert (found.name, set(found.roles)) == ("nightly", {Role.SUBMIT, Role.READ})


def test_nothing_but_the_whole_key_is_taken_for_it(file: KeyFile, path: Path, clock: Clock) -> None:
    text = file.add("a", READ).text
    other = file.add("b", READ).text
    ring = KeyRing(path, clock)
    for wrong in (
        "",
        text[:-1],
        f"{text}x",
        f" {text}",
        text.upper(),
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        text[:20] + other[20:],
        text.replace("trimtab_", "trimtab_0"),
        "trimtab_" + "0" * 12 + text[20:],
        text.split("_")[1],
        "trimtab_" + "\u0661" * 12 + text[20:],
    ):
        assert ring.find(wrong) is None


def test_a_key_ends_when_it_was_said_to(file: KeyFile, path: Path, clock: Clock) -> None:
    text = file.add("a", READ, lasts=timedelta(days=1)).text
    ring = KeyRing(path, clock)
    clock.time = NOON + timedelta(days=1) - timedelta(seconds=1)
    assert ring.find(text) is not None
    clock.time = NOON + timedelta(days=1)
    assert ring.find(text) is None


def test_no_secret_is_kept(file: KeyFile, path: Path) -> None:
    made = file.add("a", READ)
    secret = made.text[21:]
    assert secret not in path.read_text()
    assert secret not in repr(made.key)
    assert len(made.text) == len("trimtab_") + 12 + 1 + 43


def test_every_role_grants_itself_and_only_admin_everything() -> None:
    assert set(GRANTS) == set(Role)
    assert {role: set(granted) for role, granted in GRANTS.items()} == {
        Role.READ: {Role.READ},
        Role.SUBMIT: {Role.SUBMIT},
        Role.OPERATE: {Role.OPERATE, Role.READ},
        Role.ADMIN: set(Role),
    }


# ------------------------------------------------------------------------------------------------ rotation


def test_a_running_ring_knows_a_new_key_at_once_and_forgets_a_revoked_one(
    file: KeyFile, path: Path, clock: Clock
) -> None:
    first = file.add("a", READ)
    ring = KeyRing(path, clock)
    second = file.add("b", READ)
    assert ring.find(second.text) == second.key
    assert file.revoke(first.key.key_id) == first.key
    assert ring.find(first.text) is None
    assert ring.find(second.text) == second.key


def test_a_rotated_key_works_beside_the_new_one_for_a_while(file: KeyFile, path: Path, clock: Clock) -> None:
    old = file.add("nightly", frozenset({Role.SUBMIT}))
    ring = KeyRing(path, clock)
    new = file.rotate(old.key.key_id, overlap=timedelta(hours=24))
    assert (new.key.name, set(new.key.roles), new.key.expires_at) == ("nightly", {Role.SUBMIT}, None)
    assert ring.find(old.text) is not None
    assert ring.find(new.text) == new.key
    clock.time += timedelta(hours=24)
    assert ring.find(old.text) is None
    assert ring.find(new.text) == new.key


def test_a_rotation_never_lets_a_key_live_longer(file: KeyFile) -> None:
    old = file.add("a", READ, lasts=timedelta(hours=1))
    file.rotate(old.key.key_id, overlap=timedelta(hours=24))
    assert {key.expires_at for key in file.entries()} == {NOON + timedelta(hours=1)}


def test_a_key_nobody_knows_cannot_be_revoked_or_rotated(file: KeyFile) -> None:
    file.add("a", READ)
    with pytest.raises(NotFound, match="nobody"):
        file.revoke("nobody")
    with pytest.raises(NotFound, match="nobody"):
        file.rotate("nobody", overlap=timedelta(0))


def test_keys_made_at_the_same_time_are_all_kept(file: KeyFile) -> None:
    together([lambda number=number: file.add(f"n{number}", READ) for number in range(8)])  # type: ignore[misc]
    assert sorted(key.name for key in file.entries()) == [f"n{number}" for number in range(8)]


@pytest.mark.parametrize("broken", ["", "{", '{"schema": "trimtab.api-keys.v1"}', None])
def test_a_file_that_broke_leaves_the_keys_as_they_were_and_says_so(
    file: KeyFile, path: Path, clock: Clock, broken: str | None
) -> None:
    made = file.add("a", READ)
    ring = KeyRing(path, clock)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    with capture_logs() as logs:
        assert ring.find(made.text) == made.key
        assert ring.find(made.text) == made.key
    assert [entry["event"] for entry in logs] == ["api_keys.unreadable"]
    assert made.text[21:] not in str(logs)
    path.unlink(missing_ok=True)
    again = file.add("b", READ)
    assert ring.find(again.text) == again.key
    assert ring.find(made.text) is None


def test_a_revoked_key_ends_when_the_file_is_mended_by_chmod(file: KeyFile, path: Path, clock: Clock) -> None:
    revoked, kept = file.add("a", READ), file.add("b", READ)
    ring = KeyRing(path, clock)
    file.revoke(revoked.key.key_id)
    path.chmod(0o664)
    with capture_logs() as logs:
        assert ring.find(revoked.text) == revoked.key
    assert "chmod go-w" in logs[0]["error"]
    path.chmod(0o644)
    assert ring.find(revoked.text) is None
    assert ring.find(kept.text) == kept.key


def test_a_file_that_could_not_be_read_is_tried_again_every_second_though_nothing_about_it_changed(
    file: KeyFile, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = file.add("a", READ)
    file.add("b", READ)
    ring = KeyRing(path, clock)
    file.revoke(revoked.key.key_id)
    opened: list[Path] = []

    def too_many(self: Path, *_mode: str) -> None:
        opened.append(self)
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as scarce, capture_logs() as logs:
        scarce.setattr(Path, "open", too_many)
        for _ in range(5):
            assert ring.find(revoked.text) == revoked.key
        assert len(opened) == 1
        clock.time += timedelta(seconds=1)
        assert ring.find(revoked.text) == revoked.key
        assert len(opened) == 2
    assert [entry["event"] for entry in logs] == ["api_keys.unreadable"]
    assert ring.find(revoked.text) == revoked.key
    clock.time -= timedelta(hours=1)
    assert ring.find(revoked.text) is None


# ------------------------------------------------------------------------------------------------ the file


def test_the_file_is_its_owners_alone(file: KeyFile, path: Path) -> None:
    file.add("a", READ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_change_leaves_those_who_may_read_the_file_able_to(file: KeyFile, path: Path) -> None:
    made = file.add("a", READ)
    path.chmod(0o644)
    file.rotate(made.key.key_id, overlap=timedelta(0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    file.revoke(made.key.key_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_refused(
    file: KeyFile, path: Path, clock: Clock, mode: int
) -> None:
    file.add("a", READ)
    path.chmod(mode)
    with pytest.raises(Invalid, match="chmod go-w"):
        KeyRing(path, clock)


def entry(**changes: Any) -> dict[str, Any]:
    good = {
        "id": "0" * 12,
        "name": "a",
        "roles": ["read"],
        "sha256": "0" * 64,
        "created_at": "2026-11-23T12:00:00Z",
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    "keys",
    [
        [entry(), entry()],
        [entry(id="short")],
        [entry(name="a b")],
        [entry(roles=[])],
        [entry(roles=["root"])],
        [entry(sha256="secret")],
        [entry(created_at="2026-11-23T12:00:00")],
        [entry(secret="x")],
        {},
    ],
)
def test_a_file_that_is_not_right_is_refused_by_name_and_without_its_content(
    path: Path, keys: object
) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"schema": "trimtab.api-keys.v1", "keys": keys}))
    with pytest.raises(Invalid) as refused:
        read_keys(path)
    assert str(path) in str(refused.value)
    assert "0" * 64 not in str(refused.value)


def test_a_ring_without_any_key_is_refused(path: Path, file: KeyFile, clock: Clock) -> None:
    with pytest.raises(Invalid, match="cannot read"):
        KeyRing(path, clock)
    file.revoke(file.add("a", READ).key.key_id)
    with pytest.raises(Invalid, match="trimtab keys add"):
        KeyRing(path, clock)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "<b>"])
def test_a_name_that_could_not_stand_in_a_log_is_refused(file: KeyFile, name: str) -> None:
    with pytest.raises(Invalid, match="name"):
        file.add(name, READ)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="cannot change"):
        KeyFile(tmp_path / "file" / "keys.json", clock).add("a", READ)


def test_a_change_that_fails_half_way_leaves_the_old_file(
    file: KeyFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add("a", READ)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Invalid, match="No space left"):
        file.add("b", READ)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


# ------------------------------------------------------------------------------------------------ the command


@dataclass
class Wiring:
    path: Path

    def keys_file(self) -> Path:
        return self.path


@pytest.fixture
def trimtab(path: Path) -> Callable[..., Result]:
    app = typer.Typer()
    add_key_commands(app, Wiring(path))  # type: ignore[arg-type]  # all that these commands ask for

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["keys", *words])

    return run


def known(path: Path) -> dict[str, ApiKey]:
    return {key.name: key for key in read_keys(path)}


def test_the_command_prints_a_new_key_once_alone_on_standard_output(
    trimtab: Callable[..., Result], path: Path, clock: Clock
) -> None:
    made = trimtab("add", "nightly", "--role", "submit", "--role", "read", "--days", "90")
    assert made.exit_code == 0, made.output
    clock.time = datetime.now(UTC)
    key = KeyRing(path, clock).find(made.stdout.strip())
    assert key == known(path)["nightly"]
    assert key.roles == {Role.SUBMIT, Role.READ}
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == pytest.approx(timedelta(days=90), abs=timedelta(minutes=1))
    assert made.stdout.strip()[21:] not in trimtab("list").stdout + trimtab("list", "--json").stdout


def test_the_command_lists_rotates_and_revokes(trimtab: Callable[..., Result], path: Path) -> None:
    first = json.loads(trimtab("add", "desk", "--role", "admin", "--json").stdout)
    assert first["key"].startswith(f"trimtab_{first['id']}_")
    new = json.loads(trimtab("rotate", first["id"], "--overlap-hours", "0", "--json").stdout)
    listed = [json.loads(line) for line in trimtab("list", "--json").stdout.splitlines()]
    assert [(each["id"], each["roles"]) for each in listed] == [
        (first["id"], ["admin"]),
        (new["id"], ["admin"]),
    ]
    assert "(over)" in trimtab("list").stdout
    assert trimtab("revoke", first["id"]).exit_code == 0
    assert [key.key_id for key in read_keys(path)] == [new["id"]]
    gone = trimtab("revoke", first["id"])
    assert (gone.exit_code, gone.stdout) == (2, "")


def test_the_command_takes_another_file_and_no_unknown_role(
    trimtab: Callable[..., Result], tmp_path: Path, path: Path
) -> None:
    other = tmp_path / "other.json"
    assert trimtab("add", "a", "--role", "read", "--file", str(other)).exit_code == 0
    assert [key.name for key in read_keys(other)] == ["a"]
    assert trimtab("add", "a", "--role", "root").exit_code == 2
    assert trimtab("add", "a").exit_code == 2
    assert not path.exists()
