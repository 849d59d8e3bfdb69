"""What can be wrong with a backup, its key or the place where it lies."""

from hatoba.kernel.errors import Conflict, InvalidInput, NotFound, Unavailable, Unsupported


class KeyMalformed(InvalidInput):
    """What was given as a key is none."""


class KeyWrong(InvalidInput):
    """It was sealed with another key than the one given."""


class SealBroken(Conflict):
    """Sealed bytes were changed, cut off, or put in the place of others."""


class FormatUnknown(Unsupported):
    """It is no sealed file, or one of a format that this version does not read."""


class BackupMissing(NotFound):
    """There is no such backup, or none at all."""


class BackupDamaged(Conflict):
    """A backup lacks bytes that it should have."""


class BackupForeign(Conflict):
    """A backup does not fit the place where it shall be restored."""


class BackupRunning(Conflict):
    """Another backup of the same registry is being made."""


class DatabaseNotEmpty(Conflict):
    """A database that shall be restored has tables already."""


class ProgramMissing(Unavailable):
    """A program of PostgreSQL is not installed here."""


class DumpFailed(Unavailable):
    """A program of PostgreSQL did not do its work."""


class CopyDiffers(Conflict):
    """What was copied to another server or volume is not the same there."""


class VaultMissing(NotFound):
    """The vault holds no such file."""


class VaultUnavailable(Unavailable):
    """The place where backups lie does not answer, or has no space left."""


class VolumeUnusable(Unavailable):
    """A volume of a move cannot be read or written, or is not what it should be."""


class RoomMissing(Unavailable):
    """The volume that blobs are to move to is too small for them."""


class CopyRunning(Conflict):
    """Another copy into the same volume is at work."""


class BlobsDamaged(Conflict):
    """Files of a volume that is to be copied are not what they are called."""
