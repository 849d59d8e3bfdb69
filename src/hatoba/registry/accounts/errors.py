"""What the accounts room refuses, with the sentences that Quay's API shows."""

from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    Unauthenticated,
)


class InvalidAccountName(InvalidInput):
    """A name outside the grammar of namespaces, teams or robots."""


class InvalidPassword(InvalidInput):
    """A password that is too short or holds white space."""

    def __init__(self) -> None:
        super().__init__(
            "Invalid password, password must be at least 8 characters and contain no whitespace."
        )


class InvalidEmail(InvalidInput):
    """An e-mail address that cannot be one."""


class AccountExists(Conflict):
    """A user or organization of this name exists."""


class UsernameUnavailable(Conflict):
    """The name belonged to an account whose deletion is not finished."""


class EmailInUse(Conflict):
    """Another account has this e-mail address."""

    def __init__(self) -> None:
        super().__init__("E-mail address already used")


class NonEmptyDatabase(Conflict):
    """The first user can be created only where no account exists."""

    def __init__(self) -> None:
        super().__init__("Cannot initialize user in a non-empty database")


class AccountUnknown(NotFound):
    """No such account, or not of the kind asked for."""


class TeamUnknown(NotFound):
    """No such team."""


class TeamMembership(Conflict):
    """The change of a team's members makes no sense."""


class LastAdministrator(Conflict):
    """The change would leave an organization without administrator."""


class RobotUnknown(NotFound):
    """No such robot."""

    def __init__(self) -> None:
        super().__init__("Could not find robot with specified username")


class RobotExists(Conflict):
    """The robot exists."""


class RobotsDisallowed(Forbidden):
    """ROBOTS_DISALLOW is set."""

    def __init__(self) -> None:
        super().__init__("Robot accounts have been disabled. Please contact your administrator.")


class ApplicationUnknown(NotFound):
    """No such OAuth application."""


class TokenUnknown(NotFound):
    """No such token."""


class InvalidCredentials(Unauthenticated):
    """The name, password or token given is not right."""


class AccountDisabled(InvalidCredentials):
    """The account has been disabled."""

    def __init__(self) -> None:
        super().__init__("This user has been disabled. Please contact your administrator.")


class SuperuserProtected(Forbidden):
    """Superusers cannot be changed or deleted over the API."""


class TooManyLogins(RateLimited):
    """Attempts to log in follow each other too fast."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many login attempts. \nPlease reset your Quay password and try again."
        )
        self.retry_after_seconds = retry_after_seconds
