"""``note``: what was decided and learned, found again by asking."""

from typing import TYPE_CHECKING, Any

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation, present_user
from nakamura_misaki.adapters.primary.cli.narrowing import filter_options, search_filter
from nakamura_misaki.adapters.primary.cli.options import (
    TEXT,
    TEXT_OR_STDIN,
    json_option,
    user_option,
)
from nakamura_misaki.domain.note import Note, SearchAnswer

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App

_LIMIT = click.IntRange(1, 1000)


@click.group()
def note() -> None:
    """Write notes down, search and list them.

    An ID is what 'note list' shows, a UUID, or at least 4 of a UUID's first or last digits.
    """


@note.command()
@click.argument("content", type=TEXT_OR_STDIN)
@click.option(
    "--category", metavar="NAME", type=TEXT, help="Such as decisions, todos or learnings."
)
@click.option("--session", metavar="ID", type=TEXT, help="The conversation it comes from.")
@user_option("Who writes.")
@json_option
@click.pass_obj
def add(
    call: Invocation, content: str, category: str | None, session: str | None, user: str
) -> None:
    """Write a note down. CONTENT - reads it from standard input.

    \b
    Examples:
      nakamura-misaki note add "決定: PostgreSQL 16を採用" --category decisions
      git log -1 --format=%B | nakamura-misaki note add - --category code_changes

    Exits with 2 if a value breaks a rule. An embedder that fails does not stop it.
    """

    async def work(app: "App") -> Note:
        return await app.notes.add(
            user_id=user, content=content, category=category, session_id=session
        )

    from nakamura_misaki.adapters.primary.cli.render import Times, note_json, note_line

    added = call.run(work)
    if call.as_json:
        output.print_json(note_json(added, Times(call.zone)))
    else:
        output.print_human(note_line("Added", added))


@note.command()
@click.argument("query", type=TEXT_OR_STDIN)
@click.option("--mine", is_flag=True, help="Only your own notes.")
@click.option(
    "--user", metavar="USER", type=TEXT, help="Only this user's notes. [default: everybody's]"
)
@filter_options
@click.option("--limit", type=_LIMIT, default=5, show_default=True, help="How many at most.")
@json_option
@click.pass_obj
def search(
    call: Invocation, /, query: str, mine: bool, user: str | None, limit: int, **narrowing: Any
) -> None:
    """Ask in plain Japanese or English; the best notes come first.

    Two searches run: by vector (what is meant) and by words. The answer says which of them found
    a note, and why one did not run.

    \b
    Examples:
      nakamura-misaki note search "DB移行の決定事項は？"
      nakamura-misaki note search "rollback plan" --mine --limit 3 --json
      nakamura-misaki note search "DB移行" --category decisions --since 2026-10-01

    Exits with 0, also when nothing is found; 2 for a blank question or a date that is none.
    """
    if mine and user is not None:
        raise click.UsageError("give one of --mine and --user.")
    whose = present_user() if mine else user

    async def work(app: "App") -> SearchAnswer:
        where = search_filter(call.zone, **narrowing)
        return await app.notes.search(query, whose, limit, where)

    from nakamura_misaki.adapters.primary.cli.answer import answer_json, answer_parts
    from nakamura_misaki.adapters.primary.cli.render import Times

    answer = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json(answer_json(query, whose, answer, times))
    else:
        output.print_human(*answer_parts(query, whose, answer, times))


@note.command("list")
@click.option("--category", metavar="NAME", type=TEXT, help="Only notes of this category.")
@click.option(
    "--session", metavar="ID", type=TEXT, help="All notes of this conversation, oldest first."
)
@click.option("--limit", type=_LIMIT, default=50, show_default=True, help="How many at most.")
@user_option("Whose notes; not used with --session.")
@json_option
@click.pass_obj
def list_notes(
    call: Invocation, category: str | None, session: str | None, limit: int, user: str
) -> None:
    """List notes, newest first.

    \b
    Examples:
      nakamura-misaki note list --category decisions
      nakamura-misaki note list --session sess_123

    Exits with 0, also when there are none.
    """
    if session is not None and category is not None:
        raise click.UsageError("give one of --session and --category.")

    async def work(app: "App") -> list[Note]:
        if session is not None:
            return await app.notes.list_of_session(session)
        return await app.notes.list_for(user, category, limit)

    from nakamura_misaki.adapters.primary.cli.render import Times, note_json, note_table

    notes = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json([note_json(each, times) for each in notes])
    elif notes:
        output.print_human(note_table(notes, times))
    else:
        whose = user if session is None else f"Session {session}"
        what = f" of category {category}" if category else ""
        output.print_human(output.styled(f"{whose} has no notes{what}."))


@note.command()
@click.argument("note_id", metavar="ID", type=TEXT)
@json_option
@click.pass_obj
def show(call: Invocation, note_id: str) -> None:
    """Show one note, all of it.

    \b
    Example:
      nakamura-misaki note show c41f90aa

    Exits with 3 if there is none, 2 if several have that ID.
    """

    async def work(app: "App") -> Note:
        return await app.notes.show(await app.notes.find_id(note_id))

    from nakamura_misaki.adapters.primary.cli.render import Times, note_fields, note_json

    shown = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json(note_json(shown, times))
    else:
        output.print_human(note_fields(shown, times), "", output.paragraph(shown.content))
