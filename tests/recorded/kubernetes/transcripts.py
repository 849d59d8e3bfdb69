"""Recorded terminal sessions with kubectl: commands, what they print, how they end."""

import asyncio
import os
import re
import shlex
from dataclasses import dataclass, field

from tests.recorded.kubernetes.normal import ADDRESS, NODE_PORT, TIME, UUID

VOLATILE_LINE = re.compile(
    r"(kube-root-ca\.crt|openshift-service-ca\.crt|127\.0\.0\.1:\d{4,5}$|<WORKDIR>|LIVE-|MERGED-|pytest-of)"
)


@dataclass
class Command:
    """One command and its recorded end."""

    number: int
    arguments: list
    stdin: str = ""
    output: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    code: int | None = None

    @property
    def title(self):
        return f"#{self.number} kubectl {shlex.join(self.arguments)}"


def parse(text):
    """Return the files and the commands of a transcript."""
    files, commands, open_file = {}, [], None
    for line in text.splitlines():
        if line.startswith("# file "):
            open_file = line.removeprefix("# file ").rstrip(":")
            files[open_file] = ""
        elif line.startswith("# | ") and open_file:
            files[open_file] += f"{line[4:]}\n"
        elif line.startswith("$ kubectl "):
            commands.append(Command(len(commands), shlex.split(line.removeprefix("$ kubectl "))))
        elif commands:
            _read(commands[-1], line)
    return files, commands


def _read(command, line):
    if line.startswith("[stdin] "):
        command.stdin += line.removeprefix("[stdin] ") + "\n"
    elif line.startswith("[stderr] "):
        command.errors.append(line.removeprefix("[stderr] "))
    elif ended := re.fullmatch(r"\[rc (\d+)\]", line):
        command.code = int(ended[1])
    elif command.code is None:
        command.output.append(line)


SUBSTITUTIONS = [
    (re.compile(r"^([WEI])\d{4} \S+ +\d+ "), r"\1 "),
    (re.compile(r"eyJ[\w.-]{50,}"), "<TOKEN>"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"), "<time>"),
    (UUID, "<uid>"),
    (TIME, "<time>"),
    (re.compile(r"(uid|resourceVersion|time|clusterIP|Resource Version): .*"), r"\1: <volatile>"),
    (re.compile(r'(\\*"resourceVersion\\*"): ?\\*"\d+\\*"'), r"\1:<volatile>"),
    (re.compile(r"\b(\d+[smhdy])+\b"), "<age>"),
    (ADDRESS, "<address>"),
    (NODE_PORT, ":<nodePort>/"),
    (re.compile(r"<no newline>$"), ""),
    (re.compile(r" +"), " "),
]


def _plain(line):
    for pattern, by in SUBSTITUTIONS:
        line = pattern.sub(by, line)
    return line.rstrip()


def normal(lines):
    """Return what is the same in every run."""
    kept = [_plain(line) for line in lines if not VOLATILE_LINE.search(line)]
    while kept and not kept[-1]:
        kept.pop()
    return kept


async def run(program, command, home):
    """Run the command in a directory that holds its files and a kubeconfig."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        *command.arguments,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(home / "kubeconfig"),
        },
        cwd=home,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(command.stdin.encode()), 40)
    return output.decode().splitlines(), errors.decode().splitlines(), process.returncode


def _is_unordered(command):
    """Whether kubectl walks through a map as it prints: its keys then come in any order."""
    return command.arguments[:2] == ["describe", "cm"]


def differences(command, output, errors, code):
    found = []
    if code != command.code:
        found.append(f"ended with {code}, recorded {command.code}")
    arranged = sorted if _is_unordered(command) else list
    for name, ours, theirs in (
        ("printed", arranged(normal(output)), arranged(normal(command.output))),
        ("complained", arranged(normal(errors)), arranged(normal(command.errors))),
    ):
        if ours != theirs:
            odd = [line for line in ours if line not in theirs]
            missing = [line for line in theirs if line not in ours]
            found.append(f"{name} {odd}, recorded {missing}")
    return found
