"""Points in time as people write them in Japanese and English, in the team's time zone."""

from nakamura_misaki.application.time_expressions.describing import describe_time
from nakamura_misaki.application.time_expressions.finding import (
    FoundTime,
    find_time,
    find_time_at_end,
    read_time,
)

__all__ = ["FoundTime", "describe_time", "find_time", "find_time_at_end", "read_time"]
