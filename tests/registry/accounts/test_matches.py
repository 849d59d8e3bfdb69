"""What one worker has seen match, its siblings know."""

import asyncio
import multiprocessing
import os
import signal
import time

import pytest

from hatoba.registry.accounts.matches import SETS, WAYS, SharedMatches
from hatoba.registry.accounts.metrics import PASSWORD_HASHES
from hatoba.registry.accounts.secrets import SecretHasher

FORK = multiprocessing.get_context("fork")


def forked(work, *arguments):
    process = FORK.Process(target=work, args=arguments)
    process.start()
    return process


def compare(hasher, secret, stored, barrier, outcomes) -> None:
    before = PASSWORD_HASHES._value.get()
    barrier.wait(60)
    found = asyncio.run(hasher.matches(secret, stored=stored))
    outcomes.put((found, PASSWORD_HASHES._value.get() - before))


def by_two_workers(hasher, secret, stored):
    barrier, outcomes = FORK.Barrier(2), FORK.SimpleQueue()
    workers = [forked(compare, hasher, secret, stored, barrier, outcomes) for _ in range(2)]
    found = [outcomes.get() for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return [matched for matched, _ in found], sum(hashes for _, hashes in found)


@pytest.fixture
def hasher():
    return SecretHasher(rounds=10)


def test_two_workers_that_meet_a_secret_at_once_hash_it_once(hasher) -> None:
    stored = asyncio.run(hasher.hash("right"))
    assert by_two_workers(hasher, "right", stored) == ([True, True], 1)
    assert by_two_workers(hasher, "right", stored) == ([True, True], 0)


def test_a_new_stored_hash_is_compared_anew(hasher) -> None:
    stored = asyncio.run(hasher.hash("right"))
    assert asyncio.run(hasher.matches("right", stored=stored))
    changed = asyncio.run(hasher.hash("another"))
    assert by_two_workers(hasher, "right", changed)[0] == [False, False]


def test_what_does_not_match_is_refused_by_both_and_not_kept(hasher) -> None:
    stored = asyncio.run(hasher.hash("right"))
    assert by_two_workers(hasher, "wrong", stored) == ([False, False], 2)
    assert by_two_workers(hasher, "wrong", stored) == ([False, False], 2)


def hold(shared, mark, held) -> None:
    with shared.alone_blocking(mark):
        held.set()
        time.sleep(600)


@pytest.fixture
def shared():
    return SharedMatches(guard_seconds=0.05)


@pytest.fixture
def holder(shared):
    held = FORK.Event()
    process = forked(hold, shared, shared.mark("secret", stored="hash"), held)
    assert held.wait(60)
    yield process
    process.kill()
    process.join(60)


def test_the_guard_of_a_killed_worker_is_free(shared, holder) -> None:
    mark = shared.mark("secret", stored="hash")
    assert not shared._lock(int.from_bytes(mark[:4]))
    holder.kill()
    holder.join(60)
    assert shared._lock(int.from_bytes(mark[:4]))


def test_a_stopped_worker_keeps_nobody_out(shared, holder) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    with shared.alone_blocking(shared.mark("secret", stored="hash")):
        pass


def test_the_table_has_an_end(shared) -> None:
    marks = [shared.mark(str(number), stored="") for number in range(2 * SETS * WAYS)]
    for mark in marks:
        shared.add(mark)
    assert marks[-1] in shared
    assert sum(mark in shared for mark in marks) <= SETS * WAYS


def test_another_table_knows_nothing_of_it(shared) -> None:
    shared.add(shared.mark("secret", stored="hash"))
    other = SharedMatches()
    assert other.mark("secret", stored="hash") != shared.mark("secret", stored="hash")
    assert other.mark("secret", stored="hash") not in other
