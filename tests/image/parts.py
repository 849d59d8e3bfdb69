"""Containers of the image, as pods would run them: each with an address of its own on loopback.

Ports are fixed in a pod, so each container binds another address (`HATOBA_BIND`); PostgreSQL and
Redis are the machine's own servers.
"""

import base64
import contextlib
import http.client
import json
import shutil
import subprocess
import time
import uuid

import yaml
from tests.ports import free_port

USER = "1000770000:0"
RUN = (
    "podman", "--cgroup-manager", "cgroupfs", "run", "--runtime", "runc", "--network", "host",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--read-only", "--user", USER,
    "--cap-drop", "all",
)  # fmt: skip
REGISTRY, SCANNER, EDITOR, MIRROR, OPERATOR, SPARE = (f"127.83.0.{n}" for n in range(1, 7))
PORT = 8080
SECONDS = 120
PSK = base64.b64encode(b"a key that two parts share").decode()
PASSWORD = "a-good-password-for-tests"


def command(*words, check=True, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0 or not check, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Container:
    """One that runs; its log is what a failure shows."""

    def __init__(self, name):
        self.name = name

    def log(self):
        done = subprocess.run(
            ("podman", "logs", self.name), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    @property
    def runs(self):
        shown = command(
            "podman", "inspect", "--format", "{{.State.Running}}", self.name, check=False
        )
        return shown.strip() == "true"

    def until(self, question, what):
        deadline = time.monotonic() + SECONDS
        while not question():
            if not self.runs or time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: not {what}:\n{self.log()[-6000:]}")
            time.sleep(0.2)

    def until_it_answers(self, host, port, path, *, status=200):
        def answers():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return ask(host, port, "GET", path)[0] == status
            return False

        self.until(answers, f"answering {status} at {path}")


@contextlib.contextmanager
def running(image, *words, bind, volumes=(), environment=()):
    """Run a part; it must end by itself within seconds when it is told to."""
    name = f"hatoba-test-{uuid.uuid4().hex[:8]}"
    options = [f"--volume={inside}" for inside in volumes]
    options += [
        f"--env={one}" for one in (f"HATOBA_BIND={bind}", "HATOBA_DRAIN_SECONDS=0", *environment)
    ]
    command(*RUN, "--detach", "--name", name, *options, image, *words)
    container = Container(name)
    try:
        yield container
        assert container.runs, container.log()
        began = time.monotonic()
        command("podman", "stop", "--time", "60", name)
        assert time.monotonic() - began < 50, (
            f"{words} had to be killed:\n{container.log()[-3000:]}"
        )
    finally:
        command("podman", "rm", "--force", "--time", "0", name)


def ask(host, port, method, path, *, body=None, headers=None):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json"} | (headers or {})
        connection.request(method, path, body=content, headers=sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def handed_over(directory, content):
    """Write a configuration where any user can read it."""
    directory.mkdir(mode=0o755)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o644)
    return directory


def volume(parent, name):
    """Make a directory as a volume is handed to a pod: its group may write."""
    directory = parent / name
    directory.mkdir()
    directory.chmod(0o2775)
    return directory


@contextlib.contextmanager
def redis_server(directory):
    port = free_port()
    program = shutil.which("redis-server")
    assert program, "apt-get install redis-server"
    process = subprocess.Popen(
        [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(directory),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def registry_config(database, redis_port):
    return {
        "BUILDLOGS_REDIS": {"host": "127.0.0.1", "port": redis_port},
        "USER_EVENTS_REDIS": {"host": "127.0.0.1", "port": redis_port},
        "BROWSER_API_CALLS_XHR_ONLY": False,
        "DATABASE_SECRET_KEY": "d" * 64,
        "DB_URI": database,
        "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "registry"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        "FEATURE_USER_INITIALIZE": True,
        "FEATURE_REPO_MIRROR": True,
        "REPO_MIRROR_INTERVAL": 1,
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": f"http://{SCANNER}:{PORT}",
        "SECURITY_SCANNER_V4_PSK": PSK,
        "SECURITY_SCANNER_INDEXING_INTERVAL": 1,
        "SECURITY_SCANNER_REGISTRY_URL": f"http://{REGISTRY}:{PORT}",
        "SSRF_ALLOWED_HOSTS": ["localhost", REGISTRY, SCANNER],
        "SECRET_KEY": "s" * 64,
        "SERVER_HOSTNAME": f"{REGISTRY}:{PORT}",
        "SUPER_USERS": ["admin"],
    }


def scanner_config(database):
    return {
        "http_listen_addr": f":{PORT}",
        "introspection_addr": ":8089",
        "indexer": {"connstring": database, "migrations": True},
        "matcher": {"connstring": database, "migrations": True},
        "auth": {"psk": {"key": PSK, "iss": ["quay", "clairctl"]}},
    }
