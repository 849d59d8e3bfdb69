"""Everything of a volume in another one: whenever it is cut off, whatever is wrong with either."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.torture.disks import small_disk

from hatoba.cli.main import hatoba
from hatoba.kernel.digests import Digest
from hatoba.registry.backup.errors import (
    BlobsDamaged,
    CopyRunning,
    RoomMissing,
    VolumeUnusable,
)
from hatoba.registry.backup.volumes import SCRATCH, Volumes, check_volumes, fill, settle

BLOBS = [b"one", b"two" * 1000, os.urandom(3 << 20), b""]
DYING = """
import os, signal, sys
from pathlib import Path
from hatoba.registry.backup.volumes import Volumes, fill, settle
left, really = int(sys.argv[3]), os.fsync
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    really(handle)
os.fsync = fsync
volumes = Volumes(source=Path(sys.argv[1]), target=Path(sys.argv[2]))
fill(volumes)
settle(volumes)
"""


def place(root, digest):
    return root / "registry" / digest.algorithm / digest.hex[:2] / digest.hex


def put(root, content, *, digest=None):
    path = place(root, digest or Digest.of(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def content(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def volumes(tmp_path):
    found = Volumes(source=tmp_path / "old", target=tmp_path / "new")
    for path in (found.source, found.target):
        path.mkdir()
    for blob in BLOBS:
        put(found.source, blob)
    uploads = found.source / "registry/uploads"
    uploads.mkdir()
    (uploads / "begun").write_bytes(b"half of it")
    return found


def test_a_volume_is_copied_and_is_the_same(volumes):
    assert fill(volumes).copied == len(BLOBS) + 1
    done = settle(volumes)
    assert (done.files, done.copied) == (len(BLOBS) + 1, 0)
    assert content(volumes.target) == content(volumes.source)


def test_what_came_went_and_grew_meanwhile_is_made_the_same(volumes):
    fill(volumes)
    place(volumes.source, Digest.of(BLOBS[0])).unlink()
    put(volumes.source, b"pushed since")
    with (volumes.source / "registry/uploads/begun").open("ab") as stream:
        stream.write(b", and the rest")
    done = settle(volumes)
    assert (done.copied, done.removed) == (2, 1)
    assert content(volumes.target) == content(volumes.source)


@pytest.mark.parametrize("syncs", [1, 3, 5, 9, 14])
def test_a_copy_that_is_killed_is_followed_by_one_that_ends_the_same(volumes, syncs):
    words = [sys.executable, "-c", DYING, volumes.source, volumes.target, str(syncs)]
    died = subprocess.run(words, capture_output=True, check=False)
    assert died.returncode == -9, died.stderr.decode()
    for name, found in content(volumes.target).items():
        if "/sha256/" in name:
            assert Digest.of(found).hex == name.rpartition("/")[2]
    fill(volumes)
    settle(volumes)
    assert content(volumes.target) == content(volumes.source)


def test_a_blob_that_another_attempt_left_is_read_again(volumes):
    put(volumes.target, b"two" * 999 + b"TWO", digest=Digest.of(BLOBS[1]))
    assert fill(volumes).copied == len(BLOBS) + 1
    settle(volumes)
    assert content(volumes.target) == content(volumes.source)


def test_a_damaged_blob_is_told_and_all_others_are_copied(volumes):
    digest = Digest.of(BLOBS[1])
    put(volumes.source, b"TWO" * 1000, digest=digest)
    with pytest.raises(
        BlobsDamaged, match=rf"1 files .* {digest} \(its bytes are others\)"
    ) as told:
        fill(volumes)
    assert "registry scrub --quarantine" in told.value.message
    assert not place(volumes.target, digest).exists()
    assert place(volumes.target, Digest.of(BLOBS[2])).read_bytes() == BLOBS[2]
    # As scrub sets it aside: no longer called by a digest that it has not.
    aside = volumes.source / "registry/damaged/sha256" / digest.hex
    aside.parent.mkdir(parents=True)
    place(volumes.source, digest).rename(aside)
    fill(volumes)
    settle(volumes)
    assert content(volumes.target) == content(volumes.source)


def test_a_full_volume_is_told_and_more_room_is_all_it_takes(volumes, tmp_path):
    with small_disk(tmp_path / "small", size=1 << 20) as disk:
        small = Volumes(source=volumes.source, target=disk)
        with pytest.raises(RoomMissing, match=r"take 31[0-9]* bytes, and .* has room for 1048576"):
            check_volumes(small)
        with pytest.raises(RoomMissing, match="the new volume is full"):
            fill(small)
        names = {path.name for path in disk.rglob("*") if path.is_file()}
        assert names <= {one.name for one in volumes.source.rglob("*")} | {"lock"}
        subprocess.run(["mount", "-o", "remount,size=8M", str(disk)], check=True)
        check_volumes(small)
        fill(small)
        settle(small)
        assert content(disk) == content(volumes.source)


def test_a_volume_that_is_not_there_or_is_the_same_is_refused(volumes, tmp_path):
    for source, target in (
        (tmp_path / "nowhere", volumes.target),
        (volumes.source, volumes.source),
        (volumes.source, volumes.source / "registry"),
    ):
        for step in (check_volumes, fill, settle):
            with pytest.raises(VolumeUnusable):
                step(Volumes(source=source, target=target))
    assert not (volumes.source / SCRATCH).exists()


def test_a_link_is_refused_since_nobody_knows_where_it_leads(volumes):
    (volumes.source / "registry/elsewhere").symlink_to("/")
    with pytest.raises(VolumeUnusable, match="registry/elsewhere is a link"):
        fill(volumes)


def test_what_a_file_system_puts_at_its_root_is_passed_over(volumes):
    (volumes.source / "lost+found").mkdir()
    (volumes.source / "lost+found/#12").write_bytes(b"debris")
    fill(volumes)
    settle(volumes)
    assert not (volumes.target / "lost+found").exists()


def test_two_copies_into_one_volume_do_not_run_at_once(volumes):
    fill(volumes)
    with (volumes.target / SCRATCH / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CopyRunning):
            fill(volumes)
    fill(volumes)


def test_the_command_says_what_it_did_and_why_it_did_not(volumes, tmp_path):
    words = ["registry", "copy-blobs", "--from", str(volumes.source), "--to"]

    def run(target, step):
        return CliRunner().invoke(hatoba, [*words, str(target), "--step", step])

    checked = run(volumes.target, "check")
    assert checked.exit_code == 0, checked.output
    assert "has room for the 31" in checked.output
    assert "5 files are in both volumes, 5 were copied now" in run(volumes.target, "fill").output
    refused = run(Path(tmp_path, "nowhere"), "fill")
    assert refused.exit_code == 1
    assert "the old volume stays in use: the new volume is not there" in refused.output
