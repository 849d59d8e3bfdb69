"""What the frozen tables of revision 0001 are declared in."""

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData

CORE: Final = MetaData(
    naming_convention={
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

BIG_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
