import json
from pathlib import Path

import pytest
from tests.recorded import require
from tests.recorded.kubernetes.recording import read
from tests.recorded.kubernetes.replay import HEADER, replay

pytestmark = [pytest.mark.anyio, pytest.mark.recorded]
RATCHET = Path(__file__).with_name("ratchet.json")
KNOWN = json.loads(RATCHET.read_text())
EXACT = ("patch-", "ssa-", "watch")


def definitions():
    """Return the CRDs that were there while everything was recorded."""
    for exchange in read(require("kubernetes", "crd-create.jsonl")):
        answer = exchange.answer
        is_definition = isinstance(answer, dict) and "names" in (answer.get("spec") or {})
        if is_definition and answer["spec"]["names"]["kind"] == "QuayRegistry":
            return [answer]
    raise AssertionError("the recording holds no CRD of QuayRegistry")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", sorted(KNOWN))
async def test_no_more_answers_differ_from_a_real_server_than_are_known(scenario):
    exchanges = read(require("kubernetes", f"{scenario}.jsonl"))
    outcome = await replay(scenario, exchanges, definitions())
    print(f"\n{HEADER}\n{outcome.line()}")
    for reason, count in sorted(outcome.reasons.items()):
        print(f"  {count:4} {reason}")
    for title, found in outcome.wrong:
        print("\n".join([f"wrong {title}", *(f"      {line}" for line in found[:12])]))
    assert outcome.verdicts["agreed"] > 0
    assert outcome.verdicts["wrong"] <= KNOWN[scenario]


def test_what_clients_build_on_is_exact():
    assert {name: count for name, count in KNOWN.items() if name.startswith(EXACT) and count} == {}
