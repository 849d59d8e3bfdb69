"""Follow an object from its creation, keeping every state that the API reported."""

import json
import subprocess
import threading


class Recorder:
    """`kubectl get -w -o json` in the background; `states` grows with each event."""

    def __init__(self, home, *words: str) -> None:
        self.states: list[dict] = []
        self._process = subprocess.Popen(
            ["kubectl", "get", *words, "-w", "-o", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=home.environment,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = (text + line).lstrip()
            while text:
                try:
                    state, end = decoder.raw_decode(text)
                except json.JSONDecodeError:
                    break
                items = state["items"] if state.get("kind") == "List" else [state]
                self.states.extend(items)
                text = text[end:].lstrip()

    def stop(self) -> list[dict]:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self.states


def conditions(registry: dict) -> dict[str, dict]:
    return {c["type"]: c for c in registry.get("status", {}).get("conditions", [])}
