"""The registry's database: tables, migrations and the lookup rows. Rooms' stores use it."""
