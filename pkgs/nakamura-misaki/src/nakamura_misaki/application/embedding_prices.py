"""What embedding costs at OpenAI, for an estimate before the work begins."""

DOLLARS_PER_MILLION_TOKENS = {
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
    "text-embedding-ada-002": 0.10,
}
"""As published on https://platform.openai.com/docs/pricing (standard, not batch), May 2026."""


def price_of(model: str) -> float | None:
    """US dollars for a million tokens; None for a model whose price is not known here."""
    return DOLLARS_PER_MILLION_TOKENS.get(model)
