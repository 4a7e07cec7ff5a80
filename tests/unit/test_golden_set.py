"""The golden set is what its README says, so that its figures can be trusted; and its measures."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

import pytest

from nakamura_misaki.adapters.secondary.word_search import query_terms, terms
from performance.golden_measures import interval, mean, quality, separation
from performance.golden_set import ANSWERS, HALVES, HELPS, TAGS, GoldenSet, Question, load

LEAST_OF_TAG = {"short": 15, "none": 12}
JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff\uff66-\uff9f]")
TELLING = 0.4  # weights above are of terms that are no grammar


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return load()


def tagged(golden: GoldenSet, tag: str) -> list[Question]:
    return [question for question in golden.questions if tag in question.tags]


def test_there_is_enough_of_it(golden: GoldenSet) -> None:
    assert len(golden.notes) >= 180
    assert len(golden.questions) >= 140
    tags = Counter(tag for question in golden.questions for tag in question.tags)
    assert set(tags) == set(TAGS)
    for tag in TAGS:
        assert tags[tag] >= LEAST_OF_TAG.get(tag, 10), tag
    in_japanese = sum(1 for note in golden.notes.values() if JAPANESE.search(note.content))
    assert 0.55 < in_japanese / len(golden.notes) < 0.8


def test_notes_and_questions_are_unique_and_in_order(golden: GoldenSet) -> None:
    notes = list(golden.notes.values())
    assert len(golden.names) == len(notes)
    assert len({note.content for note in notes}) == len(notes)
    assert all(1 <= len(note.content) <= 600 for note in notes)
    assert all(a.created_at <= b.created_at for a, b in pairwise(notes))
    assert len({question.name for question in golden.questions}) == len(golden.questions)
    assert len({question.text for question in golden.questions}) == len(golden.questions)


def test_grades_name_notes_that_exist(golden: GoldenSet) -> None:
    for question in golden.questions:
        assert set(question.grades) <= set(golden.notes), question.name
        assert set(question.grades.values()) <= {ANSWERS, HELPS}, question.name
        # A question is answerable, and then at least one note answers it; or it is tagged so.
        assert bool(question.answers) is bool(question.grades), question.name
        assert ("none" in question.tags) is not question.is_answerable, question.name
        assert question.tags, question.name
        assert question.language in {"ja", "en"}


def test_halves_are_balanced_in_every_tag_and_language(golden: GoldenSet) -> None:
    def imbalance(questions: list[Question]) -> int:
        halves = Counter(question.half for question in questions)
        assert set(halves) == set(HALVES)
        return abs(halves[HALVES[0]] - halves[HALVES[1]])

    assert imbalance(list(golden.questions)) <= 4
    for language in ("ja", "en"):
        of_language = [one for one in golden.questions if one.language == language]
        assert imbalance(of_language) <= 6
    for tag in TAGS:
        assert imbalance(tagged(golden, tag)) <= 5, tag


def test_a_short_question_has_one_or_two_characters(golden: GoldenSet) -> None:
    for question in tagged(golden, "short"):
        assert len(unicodedata.normalize("NFKC", question.text)) <= 2, question.text


def test_a_width_question_is_another_text_when_normalised(golden: GoldenSet) -> None:
    for question in tagged(golden, "width"):
        texts = [question.text, *(golden.notes[name].content for name in question.answers)]
        assert any(unicodedata.normalize("NFKC", text) != text for text in texts), question.text


def test_a_synonym_question_shares_no_word_with_its_answers(golden: GoldenSet) -> None:
    for question in tagged(golden, "synonym"):
        wanted = {term for term, weight in query_terms(question.text).items() if weight > TELLING}
        for name in question.answers:
            assert wanted.isdisjoint(terms(golden.notes[name].content)), (question.text, name)


def test_a_cross_question_has_an_answer_in_the_other_language(golden: GoldenSet) -> None:
    for question in tagged(golden, "cross"):
        contents = [golden.notes[name].content for name in question.answers]
        is_japanese = bool(JAPANESE.search(question.text))
        assert any(bool(JAPANESE.search(text)) is not is_japanese for text in contents), (
            question.text
        )


QUESTION = Question("q", "?", "en", ("plain",), {"a": ANSWERS, "b": HELPS})


def test_quality_of_the_best_and_of_the_worst_answer() -> None:
    best = quality(QUESTION, ["a", "b", "x"])
    assert (best.ndcg, best.mrr, best.recall, best.answered) == (1, 1, 1, 1)
    worst = quality(QUESTION, ["x", "y", *"cdefghij", "a"])  # the eleventh is never seen
    assert (worst.ndcg, worst.mrr, worst.recall, worst.answered) == (0, 0, 0, 0)


def test_quality_between() -> None:
    found = quality(QUESTION, ["b", "x", "y", "a"])
    assert found.mrr == 1 / 4  # what helps is no answer
    assert found.recall == 1
    assert found.answered == 0
    # By hand: (1/log2(2) + 3/log2(5)) / (3/log2(2) + 1/log2(3))
    assert found.ndcg == pytest.approx(0.63125, abs=1e-5)
    assert mean([found, quality(QUESTION, [])]).mrr == 1 / 8


def test_an_interval_holds_the_mean_and_is_the_same_every_time() -> None:
    differences = [0.1, 0.2, -0.1, 0.3, 0.0] * 10
    low, high = interval(differences)
    assert low < 0.1 < high
    assert interval(differences) == (low, high)


def test_separation_tells_scores_apart() -> None:
    apart = separation([5.0, 6.0, 7.0], [1.0, 2.0])
    assert apart["chance"] == 1
    assert apart["rejected"] == 1
    assert separation([1.0, 1.0], [1.0])["chance"] == 0.5
