"""PostgreSQL's programs are found, or it is said that they are not."""

import pytest

from hatoba.registry.backup.errors import ProgramMissing
from hatoba.registry.backup.programs import NEEDED, find_program, warning


def install(directory, *programs):
    directory.mkdir(parents=True)
    for name in programs:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)


def test_what_is_on_the_path_comes_first_then_debians_newest(tmp_path):
    install(tmp_path / "debian/9.6/bin", "pg_dump")
    install(tmp_path / "debian/15/bin", "pg_dump")
    places = {"path": str(tmp_path / "bin"), "debian": tmp_path / "debian"}
    assert find_program("pg_dump", **places) == str(tmp_path / "debian/15/bin/pg_dump")
    install(tmp_path / "bin", "pg_dump")
    assert find_program("pg_dump", **places) == str(tmp_path / "bin/pg_dump")
    with pytest.raises(ProgramMissing, match="postgresql-client"):
        find_program("psql", **places)


def test_a_base_without_the_programs_is_warned_of_by_name(tmp_path):
    places = {"path": str(tmp_path / "bin"), "debian": tmp_path / "debian"}
    install(tmp_path / "bin", "pg_dump", "psql")
    assert warning(**places).startswith("WARNING: pg_dumpall, pg_restore not installed: backups")
    install(tmp_path / "debian/15/bin", *NEEDED)
    assert warning(**places) == ""
