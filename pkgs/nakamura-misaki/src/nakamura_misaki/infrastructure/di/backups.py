"""Backups of the database that the settings mean, with the programs and the role for them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.repositories import NoteRepository
from nakamura_misaki.infrastructure.di.databases import (
    Announce,
    local_database,
    require_postgresql,
)

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.backup.dump import OnProgress
    from nakamura_misaki.infrastructure.backup.finding import Sample
    from nakamura_misaki.infrastructure.backup.making import BackupReport
    from nakamura_misaki.infrastructure.backup.programs import Programs
    from nakamura_misaki.infrastructure.backup.restoring import RestorePlan, RestoreReport
    from nakamura_misaki.infrastructure.backup.server import DatabaseServer
    from nakamura_misaki.infrastructure.backup.verification import VerificationReport
    from nakamura_misaki.infrastructure.settings import Settings


class BackupCommands:
    """What the command line does with backups, on the settings' database.

    ``announce`` hears of the embedded server. Raises ConfigurationError where the
    storage is JSON files.
    """

    def __init__(
        self,
        settings: "Settings",
        *,
        demo: bool = False,
        announce: Announce = lambda data_dir: None,
        on_progress: "OnProgress" = lambda what, done, total: None,
    ) -> None:
        self._settings = settings
        self._demo = demo
        self._announce = announce
        self._on_progress = on_progress

    async def back_up(self, to: Path | None = None, keep: int | None = None) -> "BackupReport":
        """Make one in ``to`` and keep so many there; each is the setting's by default."""
        from nakamura_misaki.infrastructure.backup.directory import BackupDirectory
        from nakamura_misaki.infrastructure.backup.making import back_up
        from nakamura_misaki.infrastructure.backup.status import noted_backup

        settings = self._settings
        with noted_backup(settings.backup_status_file) as noted:
            server, programs = self._open()
            report = await back_up(
                server,
                programs,
                BackupDirectory(to or settings.effective_backup_dir),
                keep=keep or settings.backup_keep,
                on_progress=self._on_progress,
            )
            noted["size_bytes"] = report.manifest.size_bytes
        return report

    async def verify_newest(
        self, directory: Path | None = None, max_age: timedelta | None = None
    ) -> "VerificationReport":
        """Verify the newest backup of a directory (default: the setting's), and note it."""
        from nakamura_misaki.infrastructure.backup.directory import BackupDirectory
        from nakamura_misaki.infrastructure.backup.status import noted_verification

        with noted_verification(self._settings.backup_status_file):
            newest = BackupDirectory(directory or self._settings.effective_backup_dir).newest()
            return await self.verify(newest, max_age)

    async def verify(self, file: Path, max_age: timedelta | None = None) -> "VerificationReport":
        """Verify a backup."""
        from nakamura_misaki.infrastructure.backup.finding import found_again
        from nakamura_misaki.infrastructure.backup.verification import verify

        server, programs = self._open()

        async def find_again(database: str) -> "Sample | None":
            workspace = self._settings.workspace_id
            return await found_again(server, database, workspace, opened_notes)

        return await verify(
            server,
            programs,
            file,
            find_again=find_again,
            max_age=max_age,
            on_progress=self._on_progress,
        )

    async def restore(
        self,
        file: Path,
        *,
        confirm: "Callable[[RestorePlan], None]",
        disconnect: bool,
        drop_previous: bool,
    ) -> "RestoreReport":
        """Make a backup the service's database."""
        from nakamura_misaki.infrastructure.backup.restoring import restore

        server, programs = self._open()
        return await restore(
            server,
            programs,
            file,
            confirm=confirm,
            disconnect=disconnect,
            drop_previous=drop_previous,
            on_progress=self._on_progress,
        )

    def _open(self) -> "tuple[DatabaseServer, Programs]":
        """The server with its role for backups, and its programs; the embedded one is started."""
        from nakamura_misaki.infrastructure.backup.programs import Programs
        from nakamura_misaki.infrastructure.backup.server import DatabaseServer, database_of

        settings = self._settings
        require_postgresql(settings)
        programs = settings.postgresql_programs
        for url, setting in (
            (settings.database_admin_url, "DATABASE_ADMIN_URL"),
            (settings.database_owner_url, "DATABASE_OWNER_URL"),
            (settings.database_url, "DATABASE_URL"),
        ):
            if url is not None:
                # Which database it is, the service's URL says; a superuser's may name any.
                database = database_of((settings.database_url or url).get_secret_value())
                server = DatabaseServer(url.get_secret_value(), database, setting=setting)
                return server, Programs(programs)
        local = local_database(settings, demo=self._demo)
        self._announce(local.server.data_dir)
        local.server.start()
        server = DatabaseServer(local.owner_url, str(local.name), setting="the embedded server")
        return server, Programs(programs or local.server.bin_dir)


@asynccontextmanager
async def opened_notes(url: str, sample: "Sample") -> AsyncIterator[NoteRepository]:
    """Notes as the service has them, of which a question like the sample's has the same vector."""
    from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
        PostgreSQLNoteRepository,
    )
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager

    manager = DatabaseManager(
        url,
        pool_size=1,
        max_overflow=0,
        workspace_id=sample.workspace_id,
        application_name="nakamura-misaki backup",
        role=sample.role,
    )
    try:
        yield PostgreSQLNoteRepository(manager, KnownVector.of(sample))
    finally:
        await manager.close()


class KnownVector:
    """An embedder that knows one vector already, which a stored note was given."""

    def __init__(self, model: str, vector: Embedding) -> None:
        self.model = model
        self.dimensions = len(vector)
        self._vector = vector

    @classmethod
    def of(cls, sample: "Sample") -> "KnownVector | None":
        """That of a note; None if it has no vector."""
        if sample.model is None or sample.vector is None:
            return None
        return cls(sample.model, sample.vector)

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        return [self._vector for _ in texts]

    async def close(self) -> None:
        pass
