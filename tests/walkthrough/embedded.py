"""An embedded cluster of its own for tests: started as a person starts it, driven by real clients.

Commands are the document's own, run by bash with the cluster's kubeconfig; nothing here imports
Hatoba.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HATOBA = [sys.executable, "-m", "hatoba.cli.main"]
NAMESPACE = "quay-enterprise"
REGISTRY = "example-registry"


class Failed(AssertionError):
    """A command ended otherwise than expected; the message holds its output."""


class Home:
    """One HATOBA_HOME with its cluster."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "HATOBA_HOME": str(directory)}

    def hatoba(self, *arguments: str, timeout: float = 300, check: bool = True) -> str:
        return self._run([*HATOBA, *arguments], timeout=timeout, check=check)

    def connect(self) -> None:
        """Point kubectl at this cluster."""
        self.environment["KUBECONFIG"] = self.hatoba("kubeconfig").strip()

    def shell(self, command: str, *, timeout: float = 120, check: bool = True, cwd=None) -> str:
        """Run a line of the document."""
        return self._run(
            ["bash", "-o", "pipefail", "-c", command], timeout=timeout, check=check, cwd=cwd
        )

    def kubectl(self, *arguments: str, timeout: float = 120, check: bool = True) -> str:
        return self._run(["kubectl", *arguments], timeout=timeout, check=check)

    def get(self, resource: str, name: str = "", *, namespace: str = NAMESPACE) -> dict:
        words = ["get", resource, *([name] if name else []), "-n", namespace, "-o", "json"]
        return json.loads(self.kubectl(*words))

    def pods(self, *, namespace: str = NAMESPACE) -> list[dict]:
        return self.get("pods", namespace=namespace)["items"]

    def until(self, question, *, what: str, timeout: float = 180):
        """Ask until the answer is true; the last answer is in the failure."""
        deadline = time.monotonic() + timeout
        while True:
            answer = question()
            if answer:
                return answer
            if time.monotonic() > deadline:
                raise Failed(
                    f"not within {timeout} s: {what}; last answer {answer!r}\n{self.tell()}"
                )
            time.sleep(0.5)

    def available(self, *, namespace: str = NAMESPACE, name: str = REGISTRY, timeout=240) -> dict:
        """Wait until the registry says that it is available, and return it."""
        try:
            self.kubectl(
                "wait", f"quayregistry/{name}", "-n", namespace,
                "--for=condition=Available", f"--timeout={timeout}s", timeout=timeout + 20,
            )  # fmt: skip
        except Failed as failure:
            raise Failed(f"{failure}\n{self.tell(namespace=namespace)}") from None
        return self.get("quayregistry", name, namespace=namespace)

    def tell(self, *, namespace: str = NAMESPACE) -> str:
        """Say what a person would look at when something does not work."""
        parts = [
            self.kubectl("get", "pods,hpa,jobs", "-n", namespace, "-o", "wide", check=False),
            self.kubectl("get", "quayregistry", "-n", namespace, "-o", "yaml", check=False),
            self.kubectl(
                "logs", "-n", "hatoba-system", "deploy/quay-operator", "--tail=25", check=False
            ),
        ]
        return "\n".join(parts)

    def _run(self, command, *, timeout: float, check: bool, cwd=None) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False,
                env=self.environment, cwd=cwd or ROOT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise Failed(
                f"{command} took over {timeout} s: {late.stdout!r} {late.stderr!r}"
            ) from None
        if check and done.returncode:
            raise Failed(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr


def new_home(name: str) -> Home:
    """Make an empty home that unprivileged pods can reach."""
    directory = Path(tempfile.mkdtemp(prefix=f"hatoba-{name}-"))
    directory.chmod(0o755)
    return Home(directory)


def remove(home: Home) -> None:
    try:
        home.hatoba("down", "--purge", timeout=120)
    finally:
        shutil.rmtree(home.directory, ignore_errors=True)


def need(*programs: str) -> None:
    """Skip, saying so, where a client is missing; continuous integration has them all."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def curl(home: Home, url: str, *options: str, token: str = "", data=None, method: str = ""):
    """Call with curl as the document does; return (status, decoded body)."""
    words = ["curl", "-sS", "-k", "-w", "\n%{http_code}", *options]
    if method:
        words += ["-X", method]
    if token:
        words += ["-H", f"Authorization: Bearer {token}"]
    if data is not None:
        text = data if isinstance(data, str) else json.dumps(data)
        words += ["--header", "Content-Type: application/json", "--data", text]
    body, _, status = home._run([*words, url], timeout=60, check=True).rpartition("\n")
    try:
        return int(status), json.loads(body)
    except json.JSONDecodeError:
        return int(status), body
