"""Made-up notes and vectors with the statistics of real ones, the same on every machine.

Words follow Zipf's law, sentences join them with particles and verb endings,
and vectors lie near a surface of far fewer dimensions than they have, as those
of text models do: uniformly random ones would be a case that no model makes.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from nakamura_misaki.domain.note import CATEGORIES, Note

KANJI = (
    "日一国会人年大十二本中長出三同時政事自行社見月分議後前民生連五発間対上部東者党地合市業内相方"
    "四定今回新場金員九入選立開手米力学問高代明実円関決子動京全目表戦経通外最言氏現理調体化田当八"
    "六約主題下首意法不来作性的要用制治度務強気小七成期公野協取都和統以機平総加山思家話世受区領多"
    "県続進正安設保改数記院女初北午指権心界支第産結百派点教報済書府活原先共得解名交資予川向際査勝"
)
ENGLISH = (  # noqa: SIM905  (a line of words reads better than thirty literals)
    "api server cache deploy build error timeout retry token queue index vector schema pool release"
    " migration backup restore review branch merge test login session report invoice payment user"
).split()
JOINS = ("の", "を", "は", "が", "に", "で", "と", "から", "まで", "について", "では", "への")
ENDS = (
    "した。",
    "する。",
    "になった。",
    "を確認。",
    "の予定。",
    "で決定。",
    "が必要。",
    "を修正した。",
)
START = datetime(2025, 1, 1, tzinfo=UTC)


class Corpus:
    """``size`` notes; of every thousand one user has 1, another 10, another 100, forty the rest."""

    USERS = ("U-0.1%", "U-1%", "U-10%", *(f"U-{number:02}" for number in range(40)))

    def __init__(self, size: int, dimensions: int, seed: int = 7) -> None:
        self.size = size
        self._random = random.Random(seed)
        words = [
            "".join(self._random.choices(KANJI, k=self._random.choice((2, 2, 2, 3))))
            for _ in range(6000)
        ]
        self.words = words + ENGLISH
        self._random.shuffle(self.words)
        self._weights = [1 / (rank + 20) for rank in range(len(self.words))]
        numbers = np.random.default_rng(seed)
        latent = numbers.standard_normal((size, 48), dtype=np.float32)
        latent += (
            2 * numbers.standard_normal((300, 48), dtype=np.float32)[numbers.integers(0, 300, size)]
        )
        surface = numbers.standard_normal((48, dimensions), dtype=np.float32)
        self.vectors = _unit(
            latent @ surface + numbers.standard_normal((size, dimensions), dtype=np.float32)
        )
        self._numbers = numbers

    def user_of(self, position: int) -> str:
        """Whose note it is."""
        place = position % 1000
        if place > 110:
            return self.USERS[3 + position % (len(self.USERS) - 3)]
        return self.USERS[0 if place == 0 else 1 if place <= 10 else 2]

    @staticmethod
    def place_of(note_id: UUID) -> int:
        """The position of a note of ``notes``."""
        return note_id.int & (1 << 62) - 1

    def notes(self, sentences: int = 4) -> Iterator[Note]:
        """Every note, with a text of that many sentences."""
        for position in range(self.size):
            at = START + timedelta(minutes=position)
            yield Note(
                id=_time_ordered_id(at, position),
                user_id=self.user_of(position),
                content=self.text(sentences),
                category=CATEGORIES[position % len(CATEGORIES)],
                created_at=at,
                updated_at=at,
            )

    def text(self, sentences: int = 4) -> str:
        """A text of sixteen words, or of four for each of ``sentences``."""
        words = iter(self._random.choices(self.words, self._weights, k=4 * sentences))
        parts = []
        for _ in range(sentences):
            for word in (next(words), next(words), next(words)):
                parts += (word, self._random.choice(JOINS))
            parts += (next(words), self._random.choice(ENDS))
        return "".join(parts)

    def question(self) -> str:
        """A question as a person asks it: two or three words of the notes, and grammar."""
        words = self._random.choices(self.words, self._weights, k=self._random.choice((2, 3)))
        return "の".join(words) + self._random.choice(("は？", "について教えて", "の決定事項は？"))

    def target(self) -> NDArray[np.float32]:
        """A vector like a question's: near some note's."""
        near = self.vectors[self._numbers.integers(0, self.size)]
        noise = self._numbers.standard_normal(near.shape, dtype=np.float32)
        return _unit(near + 0.5 * noise / np.sqrt(near.shape[0]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _time_ordered_id(at: datetime, position: int) -> UUID:
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | position)
