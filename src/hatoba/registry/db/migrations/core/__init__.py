"""The schema of revision 0001, frozen: tables, indexes and lookup rows as they were when it began.

Nobody but 0001 reads this. What `hatoba.registry.db.tables` declares today is reached by the
revisions after it; a change here would make two databases at one revision differ.
"""

from hatoba.registry.db.migrations.core import accounts, duties, images
from hatoba.registry.db.migrations.core.lookups import LABEL_SOURCES, LOOKUPS
from hatoba.registry.db.migrations.core.metadata import CORE

__all__ = ["CORE", "LABEL_SOURCES", "LOOKUPS", "accounts", "duties", "images"]
