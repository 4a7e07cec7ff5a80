"""Every error this package raises on purpose.

One base class, so that an entry point can turn all of them into one sentence
and an exit code (or an HTTP status); few children, so that a caller can tell
what to do next. A message says what is wrong and what to do, and never holds a
secret.
"""


class NakamuraMisakiError(Exception):
    """Base of every error a user or an operator can meet. ``exit_code`` is the CLI's."""

    exit_code = 1


class InvalidInput(NakamuraMisakiError, ValueError):
    """What was asked for breaks a rule of the domain; nothing was changed."""

    exit_code = 2


class IllegalTransition(InvalidInput):
    """A task can't go from its present status to the one asked for."""


class NotFound(NakamuraMisakiError, LookupError):
    """There is no such task, handoff, note or session in this workspace."""

    exit_code = 3


class AlreadyExists(NakamuraMisakiError):
    """Another entry holds this id already, with other content."""

    exit_code = 4


class ConfigurationError(NakamuraMisakiError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 5


class AlreadyAtWork(NakamuraMisakiError):
    """Another process is doing the same at this moment, and only one may."""


class BackupFailed(NakamuraMisakiError):
    """A backup could not be made, or is damaged or not what it should be."""


class DatabaseInUse(NakamuraMisakiError):
    """Somebody is connected to a database that is about to be replaced."""


class StorageUnavailable(NakamuraMisakiError):
    """The database can't be reached, or stayed unreachable through all retries."""

    exit_code = 6


class PoolExhausted(StorageUnavailable):
    """Every connection stayed in use for the whole bounded wait."""


class SchemaOutdated(NakamuraMisakiError):
    """The database's schema is not the one this release works with."""

    exit_code = 7


class EmbeddingFailed(NakamuraMisakiError):
    """No vector could be had for a text; words still find it."""

    exit_code = 8


class EmbeddingRejected(EmbeddingFailed):
    """The model refuses these texts, and will the next time, too."""


class EmbeddingModelMismatch(ConfigurationError):
    """Vectors in the database come from another model than the one configured."""
