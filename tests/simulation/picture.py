# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of a simulated year, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from xml.sax.saxutils import escape

from .year import GUARD, Scenario, Year

WIDTH, LEFT, ROW, TOP = 760, 210, 44, 56


def duration(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60:02} min" if hours else f"{minutes} min"


def share(scenario: Scenario, year: Year, cluster_count: int) -> float:
    return year.hours / (scenario.days * 24 * cluster_count)


def table(scenario: Scenario, years: Sequence[Year], cluster_count: int) -> str:
    """In Markdown."""
    lines = [
        "| | unnecessary hours | of the time | longest at a time | longest after an event | stops | wrong stops |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for year in years:
        after = duration(max(year.after_event())) if year.delivered else "no event"
        lines.append(
            f"| {year.strategy} | {year.hours:,.0f} | {share(scenario, year, cluster_count):.1%} "
            f"| {duration(year.longest())} | {after} | {year.stops} | {len(year.wrong)} |"
        )
    return "\n".join(lines)


def svg(scenario: Scenario, years: Sequence[Year], cluster_count: int) -> str:
    """Bars of hours. The colours are readable on light and on dark pages."""
    most = max(year.hours for year in years)
    scale = (WIDTH - LEFT - 170) / most
    title = (
        f"Hours that {cluster_count} clusters ran in {scenario.days:.0f} days although they were tagged for autostop"
    )
    height = TOP + ROW * len(years) + 12
    parts = [
        "<!-- SPDX-FileCopyrightText: 2026 The daytwo.aws authors -->",
        "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="14" fill="#888">',
        f"<title>{escape(title)}</title>",
        f'<text x="16" y="30" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, year in enumerate(years):
        y, length = TOP + number * ROW, max(2.0, year.hours * scale)
        colour = "#2a9d8f" if year.strategy.startswith(GUARD) else "#e07a5f"
        label = f"{year.hours:,.0f} h ({share(scenario, year, cluster_count):.1%})"
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 20}" text-anchor="end">{escape(year.strategy)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{ROW - 16}" rx="3" fill="{colour}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 20}">{escape(label)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
