"""Block Kit's limits, checked as Slack checks them, with its messages.

The limits are those of https://docs.slack.dev/reference/block-kit; the messages are those
that Slack answers with (``no more than 50 items allowed [json-pointer:/blocks]``).
"""

from collections.abc import Iterator
from typing import Any

from slack_server_records import texts

MOST_IN_MESSAGE = 50
MOST_IN_VIEW = 100
MOST_TEXT_OBJECT = 3_000
# Not documented as a limit: the sum over a message that Slack's staff name. Slack was
# seen to refuse a little less: https://github.com/slackapi/bolt-js/issues/2867
MOST_TEXT_IN_MESSAGE = 12_000

BLOCK_TYPES = frozenset(
    [
        "actions",
        "context",
        "context_actions",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "markdown",
        "rich_text",
        "section",
        "table",
        "video",
    ]
)
INTERACTIVE = frozenset(
    [
        "button",
        "channels_select",
        "checkboxes",
        "conversations_select",
        "datepicker",
        "datetimepicker",
        "email_text_input",
        "external_select",
        "feedback_buttons",
        "icon_button",
        "multi_channels_select",
        "multi_conversations_select",
        "multi_external_select",
        "multi_static_select",
        "multi_users_select",
        "number_input",
        "overflow",
        "plain_text_input",
        "radio_buttons",
        "rich_text_input",
        "static_select",
        "timepicker",
        "url_text_input",
        "users_select",
        "workflow_button",
    ]
)
TEXT_TYPES = ("plain_text", "mrkdwn")


def problems(blocks: Any, pointer: str = "/blocks", most: int = MOST_IN_MESSAGE) -> list[str]:
    """What Slack would find wrong with blocks; nothing when they are valid."""
    return list(_problems(blocks, pointer, most))


def too_much_text(blocks: Any) -> bool:
    return sum(len(text) for _, text in texts(blocks)) > MOST_TEXT_IN_MESSAGE


def _problems(blocks: Any, pointer: str, most: int) -> Iterator[str]:
    if len(blocks) > most:
        yield f"no more than {most} items allowed [json-pointer:{pointer}]"
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        at = f"{pointer}/{number}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in BLOCK_TYPES:
            yield f"unsupported type: {kind} [json-pointer:{at}/type]"
            continue
        if (name := block.get("block_id")) is not None:
            yield from _string(name, f"{at}/block_id", 255)
            if name in seen:
                yield f"`block_id` already exists: {name} [json-pointer:{at}/block_id]"
            seen.add(name)
        yield from _block(block, at)


def _block(block: dict[str, Any], at: str) -> Iterator[str]:
    match block["type"]:
        case "section":
            yield from _section(block, at)
        case "header":
            yield from _text(block, "text", at, 150, ("plain_text",))
        case "markdown":
            yield from _string(block.get("text"), f"{at}/text", MOST_TEXT_IN_MESSAGE)
        case "image":
            yield from _image(block, at)
        case "context":
            yield from _context(block, at)
        case "actions":
            yield from _items(block, "elements", at, 25)
            yield from _interactive(block.get("elements", []), f"{at}/elements")
        case "input":
            yield from _text(block, "label", at, 2_000, ("plain_text",))
            if "element" not in block:
                yield f"missing required field: element [json-pointer:{at}]"
            else:
                yield from _element(block["element"], f"{at}/element")


def _section(block: dict[str, Any], at: str) -> Iterator[str]:
    if "text" not in block and "fields" not in block:
        yield f"missing required field: text [json-pointer:{at}]"
    if "text" in block:
        yield from _text(block, "text", at, MOST_TEXT_OBJECT)
    if "fields" in block:
        yield from _items(block, "fields", at, 10)
        for number, part in enumerate(block["fields"]):
            yield from _text({"text": part}, "text", at, 2_000, shown=f"{at}/fields/{number}")
    if "accessory" in block:
        yield from _element(block["accessory"], f"{at}/accessory")


def _context(block: dict[str, Any], at: str) -> Iterator[str]:
    yield from _items(block, "elements", at, 10)
    for number, part in enumerate(block.get("elements", [])):
        shown = f"{at}/elements/{number}"
        if part.get("type") == "image":
            yield from _image(part, shown)
        else:
            yield from _text({"text": part}, "text", at, MOST_TEXT_OBJECT, shown=shown)


def _interactive(parts: list[dict[str, Any]], at: str) -> Iterator[str]:
    seen: set[str] = set()
    for number, part in enumerate(parts):
        yield from _element(part, f"{at}/{number}")
        if (name := part.get("action_id")) is not None:
            if name in seen:
                yield f"`action_id` already exists: {name} [json-pointer:{at}/{number}/action_id]"
            seen.add(name)


def _element(part: dict[str, Any], at: str) -> Iterator[str]:
    kind = part.get("type")
    if kind == "image":
        yield from _image(part, at)
        return
    if kind not in INTERACTIVE:
        yield f"unsupported type: {kind} [json-pointer:{at}/type]"
        return
    if "action_id" in part:
        yield from _string(part["action_id"], f"{at}/action_id", 255)
    if kind == "button":
        yield from _button(part, at)
    if "options" in part:
        yield from _items(part, "options", at, {"overflow": 5}.get(str(kind), 100))
        for number, option in enumerate(part["options"]):
            shown = f"{at}/options/{number}"
            yield from _text(option, "text", shown, 75)
            yield from _string(option.get("value"), f"{shown}/value", 150)
    if "confirm" in part:
        yield from _confirm(part["confirm"], f"{at}/confirm")


def _button(part: dict[str, Any], at: str) -> Iterator[str]:
    yield from _text(part, "text", at, 75, ("plain_text",))
    if "value" in part:
        yield from _string(part["value"], f"{at}/value", 2_000)
    if "url" in part:
        yield from _string(part["url"], f"{at}/url", 3_000)
    if part.get("style") not in (None, "primary", "danger"):
        yield f"invalid style: {part['style']} [json-pointer:{at}/style]"


def _confirm(part: dict[str, Any], at: str) -> Iterator[str]:
    for name, most in (("title", 100), ("confirm", 30), ("deny", 30)):
        yield from _text(part, name, at, most, ("plain_text",))
    yield from _text(part, "text", at, 300)
    if part.get("style") not in (None, "primary", "danger"):
        yield f"invalid style: {part['style']} [json-pointer:{at}/style]"


def _image(part: dict[str, Any], at: str) -> Iterator[str]:
    yield from _string(part.get("alt_text"), f"{at}/alt_text", 2_000)
    if "image_url" not in part and "slack_file" not in part:
        yield f"missing required field: image_url [json-pointer:{at}]"


def _items(part: dict[str, Any], name: str, at: str, most: int) -> Iterator[str]:
    if name not in part:
        yield f"missing required field: {name} [json-pointer:{at}]"
    elif not part[name]:
        yield f"no fewer than 1 items allowed [json-pointer:{at}/{name}]"
    elif len(part[name]) > most:
        yield f"no more than {most} items allowed [json-pointer:{at}/{name}]"


def _text(
    part: dict[str, Any],
    name: str,
    at: str,
    most: int,
    types: tuple[str, ...] = TEXT_TYPES,
    shown: str | None = None,
) -> Iterator[str]:
    """A text object under a name; ``shown`` is its pointer where it isn't ``at/name``."""
    shown = shown or f"{at}/{name}"
    if name not in part:
        yield f"missing required field: {name} [json-pointer:{at}]"
    elif not isinstance(part[name], dict):
        yield f"must be of type object [json-pointer:{shown}]"
    elif part[name].get("type") not in types:
        yield f"unsupported type: {part[name].get('type')} [json-pointer:{shown}/type]"
    else:
        yield from _string(part[name].get("text"), f"{shown}/text", most)


def _string(value: Any, at: str, most: int) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"must be a string [json-pointer:{at}]"
    elif not value:
        yield f"must be more than 0 characters [json-pointer:{at}]"
    elif len(value) > most:
        yield f"must be less than {most + 1} characters [json-pointer:{at}]"
