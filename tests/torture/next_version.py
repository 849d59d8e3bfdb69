"""The next version, as far as an upgrade can tell: this one with three more revisions.

    python -m tests.torture.next_version registry migrate --config DIRECTORY

The version before it is then the code as it is, and no copy of it: what it does with a schema
that was expanded under it is what pods of a release will do. The revisions are what releases
bring: columns in the tables that each pull and push writes and reads, a table of its own, rows.
`HATOBA_NEXT_REVISIONS` names the directory that `write_revisions` filled.
"""

import os
import shutil
from pathlib import Path

from hatoba.registry.db import migrate, standing

TAGS, BLOBS, HEAD = (f"{int(standing.HEAD) + number:04}" for number in (1, 2, 3))
GATE = "upgrade_gate"
"""A table: the last revision goes on once it holds a row, so that a test can meet it half-way."""

_REVISION = """
from alembic import op
from sqlalchemy import Column, Integer, Text

revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None
kind = "expand"


def upgrade():
{body}
"""
_BODIES = {
    TAGS: """
    op.add_column("tag", Column("note", Text, nullable=True))
""",
    BLOBS: """
    op.add_column("imagestorage", Column("tier", Integer, nullable=False, server_default="0"))
""",
    HEAD: f'''
    op.create_table("next_note", Column("id", Integer, primary_key=True), Column("note", Text))
    op.execute("INSERT INTO next_note SELECT id, name FROM repository")
    op.execute("""DO $$ BEGIN
        WHILE NOT EXISTS (SELECT 1 FROM {GATE}) LOOP PERFORM pg_sleep(0.02); END LOOP;
    END $$""")
    op.add_column("manifest", Column("note", Text, nullable=True))
''',
}


def write_revisions(directory: Path) -> Path:
    """Make a directory with the revisions of the next version; return it."""
    shutil.copytree(
        migrate.REVISIONS,
        directory,
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    before = standing.HEAD
    for revision, body in _BODIES.items():
        text = _REVISION.format(revision=revision, before=before, body=body)
        (directory / "versions" / f"{revision}_next.py").write_text(text)
        before = revision
    return directory


if __name__ == "__main__":
    from hatoba.cli.main import main

    migrate.REVISIONS = Path(os.environ["HATOBA_NEXT_REVISIONS"])  # type: ignore[misc]
    standing.HEAD = HEAD  # type: ignore[misc]
    main()
