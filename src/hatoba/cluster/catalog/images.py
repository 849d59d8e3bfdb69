"""Names of images, and the catalog that knows what each one runs.

A catalog entry is what remains of an image when file systems are shared: the program it starts,
the variables it sets, the signal that stops it, and the user it wants.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from hatoba.kernel.errors import HatobaError, InvalidInput

_REFERENCE: Final = re.compile(
    r"(?P<name>(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?"
)

UserKind = Literal["own", "unprivileged", "launcher"]
"""Who runs it: our own code's user, the pods' user, or a launcher of ours that changes to it."""


class ImageNameInvalid(InvalidInput):
    """Not a reference of an image."""


class ImageUnknown(HatobaError):
    """The catalog has no entry for the image, or its program is not installed."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Situation:
    """What an image may need to know of the container it runs in."""

    root: Path
    """The directory that stands for the container's file system."""
    address: str
    """The pod's address."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Image:
    """What a container of this image runs."""

    entrypoint: Callable[[Situation], Sequence[str]]
    """The program; replaced by the container's `command`."""
    arguments: Sequence[str] = ()
    """Its arguments; replaced by the container's `args`."""
    variables: Callable[[Situation], Mapping[str, str]] = lambda _: {}
    stop_signal: str = "SIGTERM"
    quick_signal: str = "SIGTERM"
    """Ends it without waiting for others, when the whole cluster stops."""
    user: UserKind = "unprivileged"
    running: "Callable[[str], Image] | None" = None
    """Returns the image with another program, where a launcher of ours starts one."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Entry:
    """A pattern for names (with tag, as in `fnmatch`) and how the image is found."""

    pattern: str
    find: Callable[[], Image]
    """Raises ImageUnknown naming the package when the program is not installed."""


@dataclass(slots=True, frozen=True)
class Catalog:
    """All entries, the first match counts."""

    entries: Sequence[Entry] = field(default=())

    def find(self, reference: str) -> Image:
        """Return what an image runs.

        Raises:
            ImageNameInvalid: the reference is malformed.
            ImageUnknown: nothing here matches it.
        """
        name = full_name(reference)
        for entry in self.entries:
            if fnmatch.fnmatchcase(name, entry.pattern):
                return entry.find()
        raise ImageUnknown(
            f'failed to pull and unpack image "{reference}": failed to resolve reference '
            f'"{reference}": {reference}: not found in the catalog of the embedded cluster'
        )


_NOTHING: Final = Catalog()


def full_name(reference: str) -> str:
    """Return `name:tag` with the tag written out.

    Raises:
        ImageNameInvalid: the reference is malformed.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        problem = "invalid reference format"
        if any(letter.isupper() for letter in reference):
            problem += f": repository name (library/{reference}) must be lowercase"
        raise ImageNameInvalid(
            f'Failed to apply default image tag "{reference}": '
            f'couldn\'t parse image name "{reference}": {problem}'
        )
    return f"{match['name']}:{match['tag'] or 'latest'}"


def read_entries(path: Path, *, known: Catalog = _NOTHING) -> list[Entry]:
    """Read additional entries: a list of {image, command, args, env, stopSignal, like, program}.

    `like` names a known image: what the entry leaves out is as with that, and its variables are
    set besides. So a second version of a program can run next to the first. `program` is the server
    that a known image of PostgreSQL or Redis starts: another version of it than this machine's.

    Raises:
        InvalidInput: the file is not such a list.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return []
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is not YAML: {error}") from error
    if not isinstance(content, list):
        raise InvalidInput(f"{path} must be a list of images")
    return [_entry(path, item, known) for item in content]


def _entry(path: Path, item: object, known: Catalog) -> Entry:
    if not isinstance(item, dict) or not isinstance(item.get("image"), str):
        raise InvalidInput(f"{path}: every entry needs an `image`")
    given = dict(item)
    like = given.pop("like", None)
    if like is None:
        image = _described(Image(entrypoint=lambda _: []), given)
        return Entry(pattern=item["image"], find=lambda: image)
    if not isinstance(like, str):
        raise InvalidInput(f"{path}: `like` names an image")
    return Entry(pattern=item["image"], find=lambda: _described(known.find(like), given))


def _described(image: Image, item: Mapping[str, Any]) -> Image:
    """Return the image with all that an entry says."""
    if "program" in item:
        if image.running is None:
            raise InvalidInput(
                f"{item['image']}: `program` is for what is `like` PostgreSQL or Redis"
            )
        image = image.running(str(item["program"]))
    variables = {str(key): str(value) for key, value in (item.get("env") or {}).items()}
    found = replace(image, variables=lambda situation: {**image.variables(situation), **variables})
    if "command" in item:
        command = [str(word) for word in item["command"] or ()]
        found = replace(found, entrypoint=lambda _: command, arguments=())
    if "args" in item:
        found = replace(found, arguments=[str(word) for word in item["args"] or ()])
    if "stopSignal" in item:
        found = replace(found, stop_signal=str(item["stopSignal"]))
    return found
