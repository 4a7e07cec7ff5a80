"""nakamura-misaki: a team's tasks, handoffs, notes and sessions, in PostgreSQL."""

__version__ = "0.1.0"
