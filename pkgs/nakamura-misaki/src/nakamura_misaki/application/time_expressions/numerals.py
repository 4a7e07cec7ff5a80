"""Whole numbers as people write them: 15, 十五, 二〇二六, three."""

NUMBER = "(?:[0-9]{1,9}|[〇零一二三四五六七八九十百千]{1,8})"
"""Regular expression for a number in folded Japanese text."""

KANJI_DIGITS = "〇零一二三四五六七八九十百千"

_ONES = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0}
_TENS = {"十": 10, "百": 100, "千": 1000}

ENGLISH = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "a": 1, "an": 1, "a couple of": 2,
}  # fmt: skip


def read_number(text: str) -> int:
    """The value of a number in ASCII or Chinese digits. Raises ValueError for any other text."""
    if text.isascii():
        return int(text)
    if not any(digit in _TENS for digit in text):
        return int("".join(str(_ones(digit)) for digit in text))
    total, ones, last = 0, None, 10_000
    for digit in text:
        if digit in _TENS:
            if _TENS[digit] >= last or ones == 0:
                raise ValueError(text)
            last = _TENS[digit]
            total += (1 if ones is None else ones) * last
            ones = None
        elif ones is not None:
            raise ValueError(text)
        else:
            ones = _ones(digit)
    return total + (ones or 0)


def _ones(digit: str) -> int:
    if digit not in _ONES:
        raise ValueError(digit)
    return _ONES[digit]
