"""Robot accounts of people and organizations."""

import json
from dataclasses import dataclass
from typing import Final

from hatoba.kernel.ids import random_text
from hatoba.kernel.json import JsonObject
from hatoba.registry.accounts import policy, store, store_robots
from hatoba.registry.accounts.errors import RobotExists, RobotsDisallowed, RobotUnknown
from hatoba.registry.accounts.models import Account, Robot
from hatoba.registry.accounts.secrets import ColumnCipher
from hatoba.registry.accounts.users import Users
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database

TOKEN_LENGTH: Final = 64


@dataclass(slots=True, frozen=True, kw_only=True)
class RobotGrants:
    """What a robot may reach: its teams, and (repository, is public, role)."""

    teams: tuple[str, ...]
    repositories: tuple[tuple[str, bool, str], ...]


@dataclass(slots=True, frozen=True, kw_only=True)
class Robots:
    """The robots of this registry."""

    database: Database
    users: Users
    cipher: ColumnCipher
    lookups: Lookups
    audit: AuditLog
    are_disallowed: bool
    """ROBOTS_DISALLOW."""

    async def get(self, *, namespace: str, short_name: str) -> Robot:
        """Return a robot.

        Raises:
            RobotUnknown: there is none.
        """
        async with self.database.read() as connection:
            found = await store_robots.find_robot(connection, username=f"{namespace}+{short_name}")
        if found is None:
            raise RobotUnknown
        return self._open(found)

    async def list_robots(self, *, namespace: str, limit: int | None = None) -> list[Robot]:
        """Return a namespace's robots, oldest first."""
        async with self.database.read() as connection:
            found = await store_robots.robots_of(connection, namespace=namespace, limit=limit)
        return [self._open(robot) for robot in found]

    async def grants(self, robots: list[Robot]) -> dict[int, RobotGrants]:
        """Return teams and direct grants by the id of the robot's account."""
        ids = [robot.account.id for robot in robots]
        async with self.database.read() as connection:
            teams = await store_robots.team_names_of(connection, robot_ids=ids)
            granted = await store_robots.grants_of(connection, robot_ids=ids, lookups=self.lookups)
        return {
            robot_id: RobotGrants(
                teams=tuple(name for owner, name in teams if owner == robot_id),
                repositories=tuple(rest for owner, *rest in granted if owner == robot_id),  # type: ignore[misc]
            )
            for robot_id in ids
        }

    async def create(
        self,
        owner: Account,
        *,
        short_name: str,
        description: str,
        metadata: JsonObject | None,
        actor: Actor,
    ) -> Robot:
        """Create a robot of a person or an organization.

        Raises:
            InvalidAccountName, RobotExists: as the names say.
        """
        if self.are_disallowed:
            raise RobotsDisallowed
        policy.check_robot_name(short_name)
        username = f"{owner.username}+{short_name}"
        token = random_text(TOKEN_LENGTH)
        async with self.database.begin() as connection:
            if await store.find(connection, username=username) is not None:
                raise RobotExists(f"Existing robot with name: {username}")
            account = await store.insert_account(
                connection,
                values=self.users.new_row(username=username, email=None)
                | {"robot": True, "verified": True},
            )
            await store_robots.insert_parts(
                connection,
                robot=account,
                encrypted_token=self.cipher.encrypt(token),
                description=description,
                metadata=metadata or {},
                lookups=self.lookups,
            )
            entry = self._entry("create_robot", owner, username, actor, description=description)
            await self.audit.record(connection, entry)
        return Robot(account=account, description=description, metadata=metadata, token=token)

    async def regenerate(self, owner: Account, *, short_name: str, actor: Actor) -> Robot:
        """Give a robot a new token; the old one is refused from this moment.

        Raises:
            RobotUnknown: there is none.
        """
        robot = await self.get(namespace=owner.username, short_name=short_name)
        token = random_text(TOKEN_LENGTH)
        async with self.database.begin() as connection:
            await store_robots.set_token(
                connection, robot_id=robot.account.id, encrypted_token=self.cipher.encrypt(token)
            )
            entry = self._entry("regenerate_robot_token", owner, robot.account.username, actor)
            await self.audit.record(connection, entry)
        return Robot(
            account=robot.account,
            description=robot.description,
            metadata=robot.metadata,
            token=token,
        )

    async def delete(self, owner: Account, *, short_name: str, actor: Actor) -> None:
        """Delete a robot.

        Raises:
            RobotUnknown: there is none.
            RobotExists: a mirror pushes with it.
        """
        robot = await self.get(namespace=owner.username, short_name=short_name)
        async with self.database.begin() as connection:
            if await store_robots.is_mirroring(connection, robot_id=robot.account.id):
                raise RobotExists("Robot is being used by a mirror")
            await store_robots.delete_robot(connection, robot_id=robot.account.id)
            entry = self._entry("delete_robot", owner, robot.account.username, actor)
            await self.audit.record(connection, entry)

    def _open(self, found: tuple[Account, str, str, str]) -> Robot:
        account, encrypted, description, metadata = found
        return Robot(
            account=account,
            description=description,
            metadata=json.loads(metadata) if metadata else {},
            token=self.cipher.decrypt(encrypted),
        )

    def _entry(
        self, kind: str, owner: Account, username: str, actor: Actor, **metadata: str
    ) -> Entry:
        return Entry(
            kind=kind,
            actor=actor,
            namespace_id=owner.id,
            metadata={"robot": username.partition("+")[2], "username": username, **metadata},
        )
