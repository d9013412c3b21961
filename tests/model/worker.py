"""A worker: tasks/run_token.py step by step. One token, one claim, one answer, the next token."""

from collections.abc import Callable, Iterator, Mapping

from domain.item import DECIDED_STATES, ItemState, Out
from tests.model import closing
from tests.model.closing import idle, looking
from tests.model.states import (
    IDLE,
    NONE,
    ClaimOrder,
    Configuration,
    Fault,
    Item,
    Phase,
    Process,
    State,
    Step,
    Token,
    busy_seats,
    with_item,
    with_tokens,
)

_REPETITIONS = 2  # of one entry on the result queue: more tell nothing new


def worker_steps(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Every step this worker may take now, dying included."""
    yield from _STEPS[me.phase](config, state, me)
    for item in me.marks:
        left = tuple(other for other in me.marks if other != item)
        yield Step(f"mark {item}", marked(state, item), me._replace(marks=left))
    for answer in me.unsent:
        yield from _send(config, state, me, answer)
    if Fault.CRASH in config.faults and me != IDLE:
        yield Step("worker dies", state, fault=True)


# ------------------------------------------------------------------------------------------------ the claim


def _receive(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    for place, token in enumerate(state.tokens):
        rest = state._replace(tokens=state.tokens[:place] + state.tokens[place + 1 :])
        yield from _claim(config, rest, me, token, fault=False)
        if Fault.DOUBLE in config.faults:
            yield from _claim(config, state, me, token, fault=True)


def _claim(config: Configuration, state: State, me: Process, token: Token, *, fault: bool) -> Iterator[Step]:
    """I2. Seat busy: the token dies. Nothing pending: it dies too, and the worker looks whether all is over."""
    sources = config.moves.item_sources["claim"]
    candidates = [index for index, item in enumerate(state.items) if item.state in sources]
    if not candidates:
        yield Step("nothing pending", state, looking(me), fault=fault)
        return
    if config.claim_order is ClaimOrder.BY_ID:
        for index in candidates:
            fence = state.items[index].fence
            held = me._replace(phase=Phase.CLAIM, item=index, fence=fence, seat=token.seat, probe=token.probe)
            yield Step(f"page {index}", state, held, fault=fault)
        return
    if not _seat_free(config, state, token.seat):
        yield Step("seat busy", state, me, fault=fault)
        return
    if config.claim_order is ClaimOrder.LOWEST:
        del candidates[1:]
    for index in candidates:
        claimed = state.items[index].fence + 1
        yield _claimed(
            config, state, me._replace(seat=token.seat, probe=token.probe), index, claimed, fault=fault
        )


def _claim_by_id(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """The claim of a page that may be stale. A miss reads another page; here the token dies, which is less."""
    item = state.items[me.item]
    same = item.fence == me.fence or not config.protocol.claim_compares_the_fence
    if same and item.state in config.moves.item_sources["claim"] and _seat_free(config, state, me.seat):
        yield _claimed(config, state, me, me.item, me.fence + 1)
    else:
        yield Step(f"missed {me.item}", state, idle(me))


def _claimed(
    config: Configuration, state: State, me: Process, index: int, fence: int, *, fault: bool = False
) -> Step:
    item = state.items[index]
    counted = 1 if config.protocol.claim_counts_the_attempt else 0
    running = item._replace(
        state=config.moves.item_target("claim"), fence=fence, attempt=item.attempt + counted, seat=me.seat
    )
    held = me._replace(phase=Phase.WORK, item=index, fence=fence)
    return Step(f"claim {index}", with_item(state, index, running), held, move="claim", fault=fault)


def _seat_free(config: Configuration, state: State, seat: int) -> bool:
    return seat not in busy_seats(state) or not config.protocol.claim_needs_a_free_seat


# ------------------------------------------------------------------------------------------------ the work


def _work(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """It answers, fails, finds the upstream out, or (poison) dies of it."""
    if me.item in config.poison:
        yield Step(f"poison {me.item}", state)
        return
    if config.protocol.store_before_publish:
        yield from _finish(config, state, me)
    else:
        published = _published(config, state, me)
        yield Step(f"publish {me.item}", published, me._replace(phase=Phase.REPEAT))
    if config.slices and not me.probe:
        yield from _fold(config, state, me)
    if Fault.ERROR in config.faults:
        yield _fail(config, state, me)
    if state.world.outage:
        yield _give_back(config, state, me)


def _finish(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I3. The answer and the outbox in one write; nothing matched and not its own: a zombie, drop it."""
    item, protocol = state.items[me.item], config.protocol
    name = f"finish {me.item}"
    own = item.result == me.fence and item.state in DECIDED_STATES and protocol.repeated_finish_is_recognised
    if own and me.phase is Phase.REPEAT:
        yield Step(name, state, _after_the_finish(config, me))
    elif _holds(
        config,
        item,
        me,
        "finish",
        compare_fence=protocol.finish_compares_the_fence,
        compare_state=protocol.finish_compares_the_state,
    ):
        decided = with_item(state, me.item, _decided(config, item, me))
        yield Step(name, decided, _after_the_finish(config, me), move="finish")
        if Fault.REPLY in config.faults:
            yield Step(
                f"{name}, reply lost", decided, me._replace(phase=Phase.REPEAT), move="finish", fault=True
            )
    else:
        publishing = me._replace(phase=Phase.PUBLISH)
        dropped = _passing(me) if protocol.publish_only_what_was_stored else publishing
        yield Step(f"zombie {me.item}", state, dropped)


def _decided(config: Configuration, item: Item, me: Process) -> Item:
    # The attempts of a decided item are never read again: 0 folds states that differ in nothing else.
    due = Out.DUE if config.protocol.result_and_outbox_in_one_write else None
    outcome = config.outcome(me.item)
    assert outcome in config.moves.item_targets["finish"], outcome
    return item._replace(state=outcome, seat=NONE, out=due, result=me.fence, attempt=0)


def _after_the_finish(config: Configuration, me: Process) -> Process:
    me = me._replace(lapsed=False)
    if not config.protocol.result_and_outbox_in_one_write:
        return me._replace(phase=Phase.OUTBOX)
    if me.probe and config.protocol.resume_after_the_finish:
        return me._replace(phase=Phase.RESUME)
    return _to_publish(config, me)


def _to_publish(config: Configuration, me: Process) -> Process:
    if not config.protocol.worker_publishes:
        return _passing(me)
    return me._replace(phase=Phase.PUBLISH if config.protocol.publish_before_mark else Phase.MARK)


def _fold(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I3, and I2 of the next on the same seat. The claim does not ask what became of the finish."""
    item, protocol, name = state.items[me.item], config.protocol, f"fold {me.item}"
    stored = _holds(config, item, me, "finish", compare_fence=protocol.finish_compares_the_fence)
    unsent = me.unsent
    if (stored or not protocol.publish_only_what_was_stored) and protocol.worker_publishes:
        unsent = tuple(sorted({*unsent, (me.item, me.fence)}))
    finished = with_item(state, me.item, _decided(config, item, me)) if stored else state
    after = idle(me)._replace(unsent=unsent)
    to_claim = after._replace(phase=Phase.FOLD, seat=me.seat)
    move = "finish" if stored else ""
    if not config.fold_in_one:
        yield Step(name, finished, to_claim, move=move)
        return
    for claim in _claim(config, finished, after, Token(me.seat), fault=False):
        moves = "+".join(part for part in (move, claim.move) if part)
        step = claim._replace(name=f"{name}, {claim.name}", move=moves)
        yield step
        if Fault.REPLY in config.faults:
            unheard = claim.process._replace(phase=Phase.REFOLD) if claim.move else to_claim
            yield step._replace(name=f"{step.name}, reply lost", process=unheard, fault=True)


def _fold_claim(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    yield from _claim(config, state, idle(me), Token(me.seat), fault=False)


def _refold(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Repeated: the finish is recognised, and the seat is held under this claim's own name, or no longer."""
    item = state.items[me.item]
    own = item.state is ItemState.RUNNING and item.fence == me.fence
    if own and config.protocol.repeated_fold_is_recognised:
        yield Step(f"own {me.item}", state, me._replace(phase=Phase.WORK))
    else:
        yield from _fold_claim(config, state, me)


def _outbox(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Only with the bug: the second of two writes."""
    due = state.items[me.item]._replace(out=Out.DUE)
    yield Step(f"due {me.item}", with_item(state, me.item, due), _to_publish(config, me))


def _holds(
    config: Configuration,
    item: Item,
    me: Process,
    move: str,
    *,
    compare_fence: bool,
    compare_state: bool = True,
) -> bool:
    """The compare of every compare-and-set a worker does to its item."""
    return (item.fence == me.fence or not compare_fence) and (
        item.state in config.moves.item_sources[move] or not compare_state
    )


def _fail(config: Configuration, state: State, me: Process) -> Step:
    """I4. Delayed, or failed when the attempts are used up; the token goes on either way."""
    item = state.items[me.item]
    passing = _passing(me)
    if not _holds(config, item, me, "error", compare_fence=config.protocol.error_compares_the_fence):
        return Step(f"error {me.item}", state, passing, fault=True)
    target = ItemState.DELAYED if item.attempt < config.attempts else ItemState.FAILED
    assert target in config.moves.item_targets["error"], target
    failed = with_item(state, me.item, item._replace(state=target, seat=NONE))
    return Step(f"error {me.item}", failed, passing, move="error", fault=True)


def _give_back(config: Configuration, state: State, me: Process) -> Step:
    """I5. As if it had not been claimed; then the job waits and the token ends here: only probes run."""
    item, protocol = state.items[me.item], config.protocol
    ended = idle(me) if protocol.give_back_ends_the_token else _passing(me)
    if not _holds(config, item, me, "give_back", compare_fence=protocol.give_back_compares_the_fence):
        return Step(f"give back {me.item}", state, ended)
    returned = 1 if protocol.give_back_returns_the_attempt else 0
    given = item._replace(
        state=config.moves.item_target("give_back"), seat=NONE, attempt=item.attempt - returned
    )
    after = ended
    if protocol.give_back_makes_the_job_wait:
        after = _passing(me)._replace(phase=Phase.WAIT)
    return Step(f"give back {me.item}", with_item(state, me.item, given), after, move="give_back")


def _wait(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """J5."""
    ended = idle(me) if config.protocol.give_back_ends_the_token else _passing(me)
    yield Step("wait", waiting(config, state), ended, move="wait")


def waiting(config: Configuration, state: State) -> State:
    """J5, by a worker that gave back or a steward that could not freeze. An accepted job only notes why."""
    if state.job.state not in config.moves.job_sources["wait"]:
        return state
    return state._replace(job=state.job._replace(state=config.moves.job_target("wait")))


# ------------------------------------------------------------------------------------------------ its end


def _passing(me: Process) -> Process:
    """Through with its item; the seat's next token is still to be sent."""
    return IDLE._replace(phase=Phase.PASS_ON, seat=me.seat, marks=me.marks, unsent=me.unsent)


def _resume(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """J6. A probe got through; whoever resumed the job fills the other seats."""
    after = _to_publish(config, me) if config.protocol.resume_after_the_finish else me._replace(probe=False)
    if state.job.state in config.moves.job_sources["resume"]:
        state = state._replace(job=state.job._replace(state=config.moves.job_target("resume")))
        if config.protocol.resume_after_the_finish and config.protocol.resume_fills_the_seats:
            after = me._replace(phase=Phase.FILL)
    yield Step("resume", state, after, move="resume")


def _fill(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """The outage is over: the other seats get their tokens back."""
    others = (Token(seat) for seat in config.seats if seat != me.seat)
    yield Step("fill seats", with_tokens(state, *others), _to_publish(config, me))


def _early_resume(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Only with the bug: a probe resumes the job before it has an answer."""
    if me.probe and not config.protocol.resume_after_the_finish:
        yield from _resume(config, state, me)
    else:
        yield from _work(config, state, me)


def _publish(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I6. The bytes it stored."""
    passing = _passing(me)
    if not config.protocol.publish_before_mark:
        after = passing
    elif config.batched_marks:
        after = passing._replace(marks=tuple(sorted({*me.marks, me.item})))
    else:
        after = me._replace(phase=Phase.MARK)
    yield Step(f"publish {me.item}", _published(config, state, me), after)
    if Fault.BROKER in config.faults:
        yield Step(f"publish {me.item} refused", state, passing, fault=True)


def _send(config: Configuration, state: State, me: Process, answer: tuple[int, int]) -> Iterator[Step]:
    """I6 for what a slice has stored: by its end or by a timer, so here at any time."""
    index, fence = answer
    left = me._replace(unsent=tuple(other for other in me.unsent if other != answer))
    marks = tuple(sorted({*me.marks, index}))
    yield Step(f"send {index}", with_entry(config, state, index, fence), left._replace(marks=marks))
    if Fault.BROKER in config.faults:
        yield Step(f"send {index} refused", state, left, fault=True)


def _published(config: Configuration, state: State, me: Process) -> State:
    return with_entry(config, state, me.item, me.fence)


def with_entry(config: Configuration, state: State, index: int, answer: int) -> State:
    """Add an answer to the result queue: once by its id, or (plain) every time."""
    entries = state.world.entries
    there = entries[index]
    known = bool(there) if config.add_once else there.count(answer) >= _REPETITIONS
    if known:
        return state
    added = (*entries[:index], tuple(sorted((*there, answer))), *entries[index + 1 :])
    return state._replace(world=state.world._replace(entries=added))


def _mark(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I7."""
    after = Phase.PASS_ON if config.protocol.publish_before_mark else Phase.PUBLISH
    held = me._replace(phase=after) if after is Phase.PUBLISH else _passing(me)
    yield Step(f"mark {me.item}", marked(state, me.item), held)


def marked(state: State, index: int) -> State:
    """due → sent, nothing else."""
    item = state.items[index]
    return with_item(state, index, item._replace(out=Out.SENT)) if item.out is Out.DUE else state


def _pass_on(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    sent = with_tokens(state, Token(me.seat)) if config.protocol.token_is_passed_on else state
    yield Step(f"pass on {me.seat}", sent, idle(me))


def _look(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    if config.protocol.worker_closes:
        yield from closing.look(config, state, me)
    else:
        yield Step("look", state, idle(me))


_STEPS: Mapping[Phase, Callable[[Configuration, State, Process], Iterator[Step]]] = {
    Phase.IDLE: _receive,
    Phase.CLAIM: _claim_by_id,
    Phase.WORK: _early_resume,
    Phase.REPEAT: _finish,
    Phase.FOLD: _fold_claim,
    Phase.REFOLD: _refold,
    Phase.OUTBOX: _outbox,
    Phase.RESUME: _resume,
    Phase.FILL: _fill,
    Phase.PUBLISH: _publish,
    Phase.MARK: _mark,
    Phase.PASS_ON: _pass_on,
    Phase.WAIT: _wait,
    Phase.LOOK: _look,
    Phase.COUNT: closing.count,
    Phase.CLOSE: closing.close,
}


def holds_a_claim(me: Process) -> bool:
    """Whether it has an item in work, known to it or not. One that repeats its finish has not: its answer is stored."""
    return me.phase in {Phase.WORK, Phase.REFOLD}
