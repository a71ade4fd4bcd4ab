# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge's schedule expressions: their syntax and when they fire (EventBridge guide, "Setting a schedule
pattern for scheduled rules")."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")  # 1 is Sunday: 5 is Thursday
UNITS = {"minute": 60, "hour": 3600, "day": 86400}
NO_SUCH_DAY = timedelta(days=366 * 8)  # 29 February recurs within eight years


class ExpressionError(ValueError):
    """An invalid schedule expression. The reason is for the bed's own tests: AWS gives none."""


@dataclass(frozen=True)
class Rate:
    every: timedelta

    def after(self, moment: datetime) -> datetime | None:
        """Return the first time after the rule's creation or its last event."""
        return moment + self.every


@dataclass(frozen=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    day_of_month: str
    months: frozenset[int]
    day_of_week: str
    years: frozenset[int]

    def after(self, moment: datetime) -> datetime | None:
        """Return the first minute after that moment, in UTC."""
        start = moment.astimezone(timezone.utc).replace(second=0, microsecond=0) + timedelta(minutes=1)
        day, last = start.date(), start.date() + NO_SUCH_DAY
        while day <= last:
            if self._on(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=timezone.utc)
                        if found >= start:
                            return found
            day += timedelta(days=1)
        return None

    def _on(self, day: date) -> bool:
        if day.year not in self.years or day.month not in self.months:
            return False
        if self.day_of_week == "?":
            return day.day in _days_of_month(self.day_of_month, day)
        return _weekday(self.day_of_week, day)


def parse(expression: str) -> Rate | Cron:
    found = re.fullmatch(r"(rate|cron)\((.*)\)", expression)
    if not found:
        raise ExpressionError("neither rate(...) nor cron(...)")
    return _rate(found.group(2)) if found.group(1) == "rate" else _cron(found.group(2))


def _rate(text: str) -> Rate:
    found = re.fullmatch(r"([1-9]\d*) (minute|hour|day)(s?)", text)
    if not found:
        raise ExpressionError("a rate is a positive number and minute(s), hour(s) or day(s)")
    value, unit, plural = int(found.group(1)), found.group(2), bool(found.group(3))
    if plural != (value > 1):
        raise ExpressionError("1 takes the singular, more take the plural")
    return Rate(timedelta(seconds=value * UNITS[unit]))


def _cron(text: str) -> Cron:
    fields = text.split()
    if len(fields) != 6:
        raise ExpressionError("six fields: minutes, hours, day of month, month, day of week, year")
    minutes, hours, day_of_month, months, day_of_week, years = (field.upper() for field in fields)
    if (day_of_month == "?") is (day_of_week == "?"):
        raise ExpressionError("one of the two days is ?, and not both")
    if day_of_week == "?" and not re.fullmatch(r"L|LW|([1-9]|[12]\d|3[01])W", day_of_month):
        _numbers(day_of_month, 1, 31)
    if day_of_month == "?" and not re.fullmatch(r"([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])|L", day_of_week):
        _numbers(day_of_week, 1, 7, DAYS)
    return Cron(
        _numbers(minutes, 0, 59),
        _numbers(hours, 0, 23),
        day_of_month,
        _numbers(months, 1, 12, MONTHS),
        day_of_week,
        _numbers(years, 1970, 2199),
    )


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    """Expand a list of values, ranges, wildcards and increments."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and 0 < int(step) <= high):
            raise ExpressionError(f"increment {step!r}")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, low, high, names)
            end = _number(last, low, high, names) if dash else high if slash else begin
        if begin > end:
            raise ExpressionError(f"range {span!r} is empty")
        found.update(range(begin, end + 1, int(step) if slash else 1))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + low
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ExpressionError(f"{text!r} is not in {low} to {high}")
    return int(text)


def _days_of_month(field: str, day: date) -> frozenset[int]:
    last = calendar.monthrange(day.year, day.month)[1]
    if field == "L":
        return frozenset({last})
    if field.endswith("W"):
        target = last if field == "LW" else min(int(field[:-1]), last)
        return frozenset({_working_day(day.replace(day=target), last)})
    return _numbers(field, 1, 31)


def _working_day(day: date, last: int) -> int:
    """Return the nearest day from Monday to Friday in the same month."""
    if day.weekday() == 5:
        return day.day - 1 if day.day > 1 else 3
    if day.weekday() == 6:
        return day.day + 1 if day.day < last else day.day - 2
    return day.day


def _weekday(field: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1
    if field == "L":
        return number == 7
    if field.endswith("L"):
        last = calendar.monthrange(day.year, day.month)[1]
        return number == _number(field[:-1], 1, 7, DAYS) and day.day > last - 7
    if "#" in field:
        weekday, _dummy, week = field.partition("#")
        return number == _number(weekday, 1, 7, DAYS) and (day.day - 1) // 7 + 1 == int(week)
    return number in _numbers(field, 1, 7, DAYS)
