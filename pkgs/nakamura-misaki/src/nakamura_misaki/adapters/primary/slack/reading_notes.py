"""メモ: …, note [decisions]: …, 決定: …"""

from nakamura_misaki.adapters.primary.slack.intents import AddNote, Command, Incomplete, Missing
from nakamura_misaki.adapters.primary.slack.reading_words import Message, command

_CATEGORIES = {
    "決定": "decisions", "決定事項": "decisions", "decision": "decisions",
    "エラー": "errors", "error": "errors", "障害": "errors",
    "学び": "learnings", "学んだこと": "learnings", "learning": "learnings",
    "コード変更": "code_changes", "code change": "code_changes", "code changes": "code_changes",
    "todo": "todos", "やること": "todos",
    **{name: name for name in ("decisions", "errors", "learnings", "code_changes", "todos")},
}  # fmt: skip

_CATEGORY = r"(?:[ ]{0,3}[(\[【](?P<category>[^()\[\]【】\n]{1,100})[)\]】])?"
_NOTE = command(
    rf"""(?:
        (?:メモ|めも|ノート|note|memo){_CATEGORY}[ ]{{0,5}}:
        |メモ(?:を)?(?:して(?:おいて)?|しといて|っといて|って|[取と]って(?:おいて)?)(?:ください|下さい|ね)?(?:[ ]{{0,5}}[:、。,\n]|[ ]|\Z)
        |(?:覚えて(?:おいて)?|覚えといて)(?:ください|下さい|ね)?[ ]{{0,5}}:
        |(?:remember|remember[ ]this|take[ ]a[ ]note)[ ]{{0,5}}:
        |(?:メモ|note|memo)[。.!]?\Z
    )"""
)
# エラー: and TODO: are left out: the one begins many a question, the other is a task to some.
_CATEGORY_ALONE = command(
    "(?P<category>決定事項|決定|学び|コード変更|decision|learning)[ ]{0,5}:[ ]{0,5}"
)


def read_note(message: Message) -> AddNote | Incomplete | None:
    """A note to add, or None if the message is none. Its content is kept whole."""
    match = _NOTE.match(message.text) or _CATEGORY_ALONE.match(message.text)
    if match is None:
        return None
    if not message.text[match.end() :].strip():
        return Incomplete(Command.ADD_NOTE, Missing.CONTENT)
    content = message.content(match.end())
    category = match["category"] if "category" in match.groupdict() else None
    if category is None:
        return AddNote(content)
    written = message.content(*match.span("category"))
    return AddNote(content, _CATEGORIES.get(category.strip(), written) or None)
