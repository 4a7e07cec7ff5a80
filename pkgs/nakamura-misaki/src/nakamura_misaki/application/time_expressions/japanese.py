"""Japanese expressions: 明日, 来週の月曜, 10月15日(木)15時半, 3日後, 今週中, 今夜8時.

What a word stands for that has several readings:

- 月曜 and 次の月曜 are the first Monday after today, 来週の月曜 is that of the next
  calendar week, 今週の月曜 that of this one, also if it is past.
- 来週 is its Monday, 来月 its first day. 今週中 is Friday (on a weekend, Sunday), 今月中
  and 月末 the month's last day, 週末 Saturday.
- A part of the day without a number is 早朝 6:00, 朝 and 午前 9:00, 午前中, 昼 and 正午
  12:00, 午後 13:00, 夕方 17:00, 夜 20:00, 深夜 24:00.
- 午前 and 午後 count as digital clocks do: 午前12時 is 0:00, 午後12時 is 12:00. 夜 and
  深夜 reach into the next day: 明日の深夜1時 is 25:00 of tomorrow.
"""

import re
from datetime import date, datetime, timedelta

from nakamura_misaki.application.time_expressions import days
from nakamura_misaki.application.time_expressions.japanese_clock import CLOCK_RULES
from nakamura_misaki.application.time_expressions.numerals import NUMBER, read_number
from nakamura_misaki.application.time_expressions.rules import Meaning, rule, words
from nakamura_misaki.application.time_expressions.spans import Shift, shifted

WEEKDAYS = "月火水木金土日"

_DAYS = {
    "今日": 0, "本日": 0, "明日": 1, "翌日": 1, "明後日": 2, "翌々日": 2, "翌翌日": 2,
    "明々後日": 3, "明明後日": 3, "昨日": -1, "一昨日": -2, "一昨昨日": -3,
}  # fmt: skip
_KANA_DAYS = {
    "きょう": 0, "あした": 1, "あす": 1, "あさって": 2, "しあさって": 3,
    "きのう": -1, "おととい": -2,
}  # fmt: skip
_WEEKS = {
    "今週": 0, "来週": 1, "翌週": 1, "次週": 1, "再来週": 2, "さ来週": 2, "翌々週": 2,
    "先週": -1, "先々週": -2,
}  # fmt: skip
_MONTHS = {
    "今月": 0, "来月": 1, "翌月": 1, "再来月": 2, "さ来月": 2, "翌々月": 2, "先月": -1,
}  # fmt: skip
_YEARS = {"今年": 0, "本年": 0, "来年": 1, "再来年": 2, "昨年": -1, "去年": -1}
_ERA = {"令和": 2018}

_THROUGH = "(?:いっぱい|中(?![止国間央心断旬継古級毒身立学華核]))"
_LAST = "末(?![一-鿿ァ-ヺ])"
_KANJI = "[一-鿿々]"
_IN_PARENTHESES = rf"\([{WEEKDAYS}](?:曜日?)?\)"
_WEEKDAY_TOO = rf"(?:[ ]?{_IN_PARENTHESES}|[{WEEKDAYS}]曜日?)?"
# 3日で, 3日間, 3日目 and 1日3回 count days and name none.
_NOT_DAYS = r"""(?!後|前|間|目|本|以内|連続|ほど|程|くらい|ぐらい|かけ|かか|で|分|数|坊|曜)
    (?![ ]?[0-9]+(?:回|件|時間|個|本|分|人|度))"""


def _day(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(now.date() + timedelta(days=(_DAYS | _KANA_DAYS)[match["word"]]))


def _week(match: re.Match[str], now: datetime) -> Meaning:
    today, weeks = now.date(), _WEEKS[match["week"]]
    if name := match["weekday"] or match["bare"] or match["enclosed"]:
        return Meaning(days.weekday_in_week(today, WEEKDAYS.index(name), weeks))
    if match["last"]:
        return Meaning(days.weekend(today, weeks))
    if match["through"]:
        return Meaning(days.end_of_week(today, weeks))
    if match["first"] or weeks > 0:
        return Meaning(days.weekday_in_week(today, 0, weeks))
    # 今週まで is a date; 今週のタスク is none.
    day = days.end_of_week(today) if weeks == 0 else days.weekday_in_week(today, 0, weeks)
    return Meaning(day, is_weak=True)


def _weekday(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(days.weekday_after(now.date(), WEEKDAYS.index(match["weekday"])))


def _weekday_alone(match: re.Match[str], now: datetime) -> Meaning:
    day = days.weekday_after(now.date(), WEEKDAYS.index(match["weekday"]))
    return Meaning(day, is_weak=True)


def _month(match: re.Match[str], now: datetime) -> Meaning:
    today, months = now.date(), _MONTHS[match["month"]]
    first = days.first_of_month(today, months)
    if match["day"]:
        return Meaning(first.replace(day=read_number(match["day"])))
    if match["last"]:
        return Meaning(days.end_of_month(today, months))
    if match["first"] or months > 0:
        return Meaning(first)
    return Meaning(days.end_of_month(today) if months == 0 else first, is_weak=True)


def _year(match: re.Match[str], now: datetime) -> Meaning:
    year = now.year + _YEARS[match["year"]]
    if match["day"]:
        return Meaning(date(year, read_number(match["month"]), read_number(match["day"])))
    if match["last"]:
        return Meaning(date(year, 12, 31))
    return Meaning(date(year, 1, 1), is_weak=year <= now.year)


def _date(match: re.Match[str], now: datetime) -> Meaning:
    month, day = read_number(match["month"]), read_number(match["day"])
    if not match["year"]:
        return Meaning(days.on_month_day(now.date(), month, day))
    count = 1 if match["count"] == "元" else read_number(match["count"])
    return Meaning(date(count + _ERA.get(match["era"], 0), month, day))


def _in_month(match: re.Match[str], now: datetime) -> Meaning:
    """10月, 10月中 and 10月末, of this year or, where that month is past, of the next.

    The month alone is its first day, as 来月 is; the present one its last, as 今月 is.
    """
    today, month = now.date(), read_number(match["month"])
    first = date(now.year + (month < now.month), month, 1)
    if match["last"]:
        return Meaning(days.end_of_month(first))
    return Meaning(days.end_of_month(today) if month == now.month else first, is_weak=True)


def _day_of_month(match: re.Match[str], now: datetime) -> Meaning:
    number = match["day"]
    day = days.on_day_of_month(now.date(), read_number(number))
    is_count = len(number) == 1 and not number.isascii()  # 一日 and 三日 mostly count days
    return Meaning(day, is_weak=is_count)


_UNITS = {"年": "years", "月": "months", "週": "weeks", "日": "days"} | {
    "時": "hours", "分": "minutes", "秒": "seconds",
}  # fmt: skip
_UNIT = "(?:日|週間?|[ヶヵケカか箇个][月]|年|時間半?|分間?|秒間?)"
_PART = re.compile(
    rf"(?P<number>{NUMBER})[ ]?(?:[ヶヵケカか箇个])?(?P<unit>[年月週日時分秒])(?:間)?(?P<half>半)?"
)


def _distance(match: re.Match[str], now: datetime) -> Meaning:
    shift = Shift()
    for part in _PART.finditer(match["parts"]):
        shift = shift.plus(_UNITS[part["unit"]], read_number(part["number"]))
        if part["half"]:
            shift = shift.plus("minutes", 30)
    return shifted(now, shift, back=match["way"] == "前")


def _half(match: re.Match[str], now: datetime) -> Meaning:
    return shifted(now, Shift(months=6) if match["unit"] == "年" else Shift(seconds=12 * 3600))


def _named(day: date) -> Meaning:
    return Meaning(day)


RULES = (
    *CLOCK_RULES,
    rule(
        rf"""(?:今から[ ]?)?(?P<parts>(?:{NUMBER}[ ]?{_UNIT}[ ]?[と、]?){{1,4}})
        (?P<way>後(?![半期者回項述続退任])|以内|前(?![半期者回項述]))""",
        _distance,
    ),
    rule("(?:今から)?半(?P<unit>年|日)後(?![半期])", _half),
    rule(rf"(?P<word>{words(_DAYS)})(?!香){_THROUGH}?", _day),
    rule(
        rf"""(?:(?<![ぁ-ゖ])|(?<=[はがをにもと]))(?P<word>{words(_KANA_DAYS)}){_THROUGH}?
        (?=\Z|\s|[の、。,.!?)0-9一-鿿]|は|に|も|まで|から|中|いっぱい|ごろ)""",
        _day,
    ),
    rule(
        rf"""(?P<week>{words(_WEEKS)})
        (?:
            (?:の|、|[ ])?(?:(?P<weekday>[{WEEKDAYS}])曜日?
                |(?P<bare>[{WEEKDAYS}])(?=\Z|[\s、。,.!)0-9]|に|まで|から|の|は)
                |\((?P<enclosed>[{WEEKDAYS}])(?:曜日?)?\))
            |の?(?P<last>{_LAST})|の?(?P<through>{_THROUGH})|の?(?P<first>頭|初め|明け)
        )?""",
        _week,
    ),
    rule(
        rf"(?<!毎週)(?<!隔週)(?:次の|今度の|つぎの)?(?P<weekday>[{WEEKDAYS}])曜日?",
        _weekday,
    ),
    rule(rf"\((?P<weekday>[{WEEKDAYS}])(?:曜日?)?\)", _weekday_alone),
    rule(f"(?<![今来先毎])週{_LAST}", lambda match, now: _named(days.weekend(now.date()))),
    rule("週明け", lambda match, now: _named(days.weekday_in_week(now.date(), 0, 1))),
    rule(
        rf"""(?P<month>{words(_MONTHS)})
        (?:の?(?P<day>{NUMBER})日{_NOT_DAYS}{_WEEKDAY_TOO}
            |の?(?P<last>{_LAST}|{_THROUGH})|の?(?P<first>初め?|頭))?(?!中旬)""",
        _month,
    ),
    rule(f"(?<![0-9毎ヶか])月{_LAST}", lambda match, now: _named(days.end_of_month(now.date()))),
    rule("月初め?", lambda match, now: _named(days.first_of_month(now.date(), 1))),
    rule(
        rf"""(?P<year>{words(_YEARS)})
        (?:の?(?P<month>{NUMBER})月(?P<day>{NUMBER})日{_WEEKDAY_TOO}|の?(?P<last>{_LAST}|{_THROUGH}))?""",
        _year,
    ),
    rule(f"(?<![0-9毎])年(?:{_LAST}|内)", lambda match, now: _named(date(now.year, 12, 31))),
    rule(
        rf"""(?P<year>(?P<era>{words(_ERA)})?(?P<count>{NUMBER}|元)年[ ]?)?
        (?P<month>{NUMBER})月[ ]?(?P<day>{NUMBER})日(?!間|目){_WEEKDAY_TOO}""",
        _date,
    ),
    rule(rf"(?P<month>{NUMBER})月(?!{NUMBER}日)(?P<last>{_LAST}|{_THROUGH})?", _in_month),
    rule(rf"(?<![月年])(?P<day>{NUMBER})日{_NOT_DAYS}{_WEEKDAY_TOO}", _day_of_month),
    rule(
        "今すぐ|現在",
        lambda match, now: Meaning(moment=now.replace(second=0, microsecond=0), is_weak=True),
    ),
)
