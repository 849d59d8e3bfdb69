"""Hand the names in runtime.in to the build backend, so that dependencies are written once."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsHook(MetadataHookInterface):
    """Fill `project.dependencies` from the unpinned list that the lock file is made from."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set `dependencies`, one entry per line that is not a comment."""
        lines = (Path(self.root) / "requirements" / "runtime.in").read_text().splitlines()
        names = [line.split("#")[0].strip() for line in lines]
        metadata["dependencies"] = [name for name in names if name]
