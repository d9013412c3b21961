"""What SIGTERM means to a worker's child, to its parent and to a steward; and what a store that is out does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.settings import load_settings
from domain.ids import JobId
from domain.item import ItemState
from domain.ports import Token
from tasks.account import Account
from tasks.run_token import HandBack, run_token
from tasks.steward import TOLD_AGAIN
from tests.support.world import World
from worker.celery_app import create_sending_app
from worker.loops import _Openings, stop_on_signals
from worker.process import WorkerProcess
from worker.stopping import InHand, children_of, tell


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Whatever a test makes of SIGTERM ends with it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_portfolio_that_is_handed_back_burns_no_attempt_and_its_token_goes_on(world: World) -> None:
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    token = world.tokens.queue.popleft()
    world.upstreams.broken[world.store.list_items(job.job_id)[0].portfolio_id] = HandBack()  # type: ignore[assignment]  # as a signal raises it

    run_token(token, world.services, world.bench)

    handed_back = world.store.list_items(job.job_id)[0]
    assert (handed_back.state, handed_back.attempt, handed_back.given_back) == (ItemState.DELAYED, 0, 1)
    assert handed_back.reason == "worker_stopped"
    assert list(world.tokens.queue) == [Token(job.job_id, token.seat)]
    world.upstreams.broken.clear()
    assert dict(world.finish(job).counts) == {"traded": 2}


def test_a_signal_while_a_portfolio_is_in_hand_interrupts_it_once(sigterm: None) -> None:
    closed: list[str] = []
    in_hand = InHand(lambda: closed.append("closed"))
    in_hand.in_child()

    with in_hand.held():
        with pytest.raises(HandBack):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # while it is being handed back: nothing more to do

    assert closed == []


def test_a_process_that_is_no_child_keeps_its_own_handler(sigterm: None) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with InHand(lambda: None).held():
        assert signal.getsignal(signal.SIGTERM) is before


CHILD = """
import os, signal, sys
from worker.process import WorkerProcess
from worker.stopping import InHand
in_hand = InHand(lambda: os.write(1, b"closed\\n"))
in_hand.in_child()
with in_hand.held():
    pass
os.write(1, b"idle\\n")  # unbuffered: the signal may come before a print has returned
signal.pause()
"""


def test_a_signal_to_an_idle_child_closes_what_it_has_open_and_ends_it() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "idle\n"
        child.terminate()
        assert child.stdout.read() == "closed\n"
    assert child.returncode == -signal.SIGTERM


def test_telling_a_process_that_is_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    tell(gone.pid)


class FakePool:
    def __init__(self, *processes: object) -> None:
        self.info = {"processes": list(processes)}


class FakeWorker:
    def __init__(self, pool: FakePool | None) -> None:
        self.pool = pool


def test_only_the_processes_of_a_pool_are_told() -> None:
    assert children_of(FakeWorker(FakePool(7, 8))) == [7, 8]  # type: ignore[arg-type]  # as much of it as is read
    assert children_of(FakeWorker(FakePool(os.getpid()))) == []  # type: ignore[arg-type]  # a solo pool names itself
    assert children_of(FakeWorker(None)) == []  # type: ignore[arg-type]  # it is over


def test_openings_run_and_tell_what_came_out() -> None:
    with _Openings(2, grace_seconds=5) as openings:
        assert openings.submit(lambda: 7).result(5) == 7
        failed = openings.submit(lambda: 1 // 0)
        assert isinstance(failed.exception(5), ZeroDivisionError)


def test_the_end_waits_for_an_opening_no_longer_than_the_grace_period() -> None:
    hangs, begun, never = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        hangs.wait(30)

    began = time.monotonic()
    with _Openings(1, grace_seconds=0.05) as openings:
        openings.submit(hang)
        openings.submit(never.set)  # has not begun, and shall not
        assert begun.wait(5)
    assert 0.05 <= time.monotonic() - began < 5
    hangs.set()
    assert not never.wait(0.1)


# ------------------------------------------------------------------------------------------------ the store is out


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker process whose store cannot be opened: its folder is not there."""
    settings = load_settings(
        state_dir=tmp_path, broker_url="memory://", store_url=f"sqlite:///{tmp_path}/away/trimtab.db"
    )
    process = WorkerProcess(settings, create_sending_app(settings))
    yield process
    process.close()


def test_a_store_that_is_out_at_a_claim_ends_the_token_in_one_line(process: WorkerProcess) -> None:
    with capture_logs() as logs:
        process.run_token(Token(JobId("job"), 1), Account())

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("token.store_out", "warning")]


def test_a_steward_tells_of_an_outage_once_and_not_at_every_round(world: World) -> None:
    world.book(2)
    world.submit(parallelism=2)
    world.tick(2)
    world.tokens.queue.clear()
    world.tokens.out = True

    with capture_logs() as logs:
        world.tick(20)
        world.clock.time += TOLD_AGAIN
        world.tick(20)

    assert [entry["event"] for entry in logs] == ["tokens.not_counted"] * 2


@pytest.mark.timeout(10)
def test_a_signal_that_finds_the_loop_about_to_wait_stops_it_all_the_same(sigterm: None) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    stop = stop_on_signals()
    try:
        with stop._cond:  # type: ignore[attr-defined]  # as `Event.wait` holds it until it sleeps
            signal.raise_signal(signal.SIGTERM)
            assert stop.is_set()
        assert stop.wait(5)
    finally:
        signal.signal(signal.SIGINT, interrupt)
