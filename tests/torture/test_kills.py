"""kill -9 at random instants: what was acknowledged stays, and nobody has to help."""

import os
import signal

import pytest
from tests.torture.pushers import read_everything

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]


def test_killing_workers_at_random_instants_loses_nothing(play, torture) -> None:
    stage = play()
    [replica] = stage.replicas
    dice, kills = torture.random("victims"), 0
    with torture.crowd(stage):
        for _ in torture.instants(stage, short=6, least=8, shares=2):
            if children := replica.children():
                os.kill(dice.choice(children), signal.SIGKILL)
                kills += 1
    replica.wait_until_ready()
    read_everything(stage.client())
    print(f"{kills} processes killed: {dict(stage.ledger.counts)}")
    assert kills >= 5
    assert stage.ledger.counts["blobs acknowledged"] > 10
    stage.verdict()


def test_killing_everything_at_random_instants_loses_nothing(play, torture) -> None:
    stage = play()
    [replica] = stage.replicas
    kills = 0
    with torture.crowd(stage):
        for _ in torture.instants(stage, short=6, least=3, shares=3, most_answers=80):
            kills += 1 + len(replica.children())
            replica.kill()
            replica.start()
    read_everything(stage.client())
    print(f"{kills} processes killed: {dict(stage.ledger.counts)}")
    assert stage.ledger.counts["blobs acknowledged"] > 10
    assert stage.ledger.counts["connections broken"] > 0, "no request was disturbed"
    stage.verdict()
