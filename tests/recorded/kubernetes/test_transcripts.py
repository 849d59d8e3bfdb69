import json
import re
from pathlib import Path

import aiohttp
import pytest
import yaml
from tests.cluster.api.served import TOKEN, FakeNode, write_certificate
from tests.kubectls import kubectl
from tests.recorded import require
from tests.recorded.kubernetes.recording import read
from tests.recorded.kubernetes.replay import Player, prepare
from tests.recorded.kubernetes.test_replay import definitions
from tests.recorded.kubernetes.transcripts import differences, parse, run

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.server import serve
from hatoba.kernel.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.recorded, pytest.mark.kubectl]
KNOWN = json.loads(Path(__file__).with_name("transcripts.json").read_text())


def write_kubeconfig(home, address):
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://{address}",
                    "certificate-authority": str(home / "ca.pem"),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (home / "kubeconfig").write_text(yaml.safe_dump(config))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", sorted(KNOWN))
async def test_kubectl_prints_what_it_prints_with_a_real_server(scenario, tmp_path):
    program = kubectl("1.32")
    files, commands = parse(require("kubernetes", f"{scenario}.txt").read_text())
    exchanges = read(require("kubernetes", f"{scenario}.jsonl"))
    # The one file that the transcripts do not show; an answer holds what was in it.
    for name, text in {"f.txt": "file content\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    api = open_api(None, clock=SystemClock(), admin_token=TOKEN, service_network="10.0.0.0/24")
    plain = await serve(api, node=FakeNode(), tls=None)
    server = await serve(api, node=FakeNode(), tls=write_certificate(tmp_path))
    write_kubeconfig(tmp_path, server.address)
    wrong, agreed, left_out = [], 0, 0
    try:
        async with aiohttp.ClientSession() as session:
            player = Player(session, f"http://{plain.address}")
            await prepare(player, scenario, exchanges, definitions())
        for command in commands:
            reason = next(
                (
                    why
                    for pattern, why in KNOWN[scenario]["apart"].items()
                    if re.search(pattern, command.title)
                ),
                "",
            )
            found = differences(command, *await run(program, command, tmp_path))
            if reason:
                left_out += 1
            elif found:
                wrong.append((command.title, found))
            else:
                agreed += 1
    finally:
        await server.close()
        await plain.close()
        api.close()
    print(f"\n{scenario}: {agreed} agreed, {left_out} apart, {len(wrong)} wrong")
    for title, found in wrong:
        print("\n".join([f"wrong {title}", *(f"      {line}" for line in found)]))
    assert agreed > 0
    assert len(wrong) <= KNOWN[scenario]["wrong"]
