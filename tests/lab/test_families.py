"""The eleven families: golden cases by hand, and what holds for every input."""

import random
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.lab.families import FAMILIES
from understudy.lab.family import Symbols, Words

LETTERS_AND_NUMBERS = Symbols(tuple("abcdefghijklmnop"), tuple(str(n) for n in range(20)))

# family, input, gold answer, explanation, systematic error
GOLDEN = [
    ("first", "a c f", "a", "a c f", "f"),
    ("last", "a c f", "f", "a c f", "a"),
    ("compare", "7 12", "12", "12 bigger", "7"),
    ("compare", "12 7", "12", "12 bigger", "7"),
    ("max", "7 12 3", "12", "3 7 12", "3"),
    ("max", "2 10 9 9", "10", "2 9 9 10", "2"),
    ("majority", "a c c", "c", "a c c", "a"),
    ("majority", "c a c c a", "c", "a a c c c", "c"),
    ("member", "a : c a f a", "yes", "a a", "no"),
    ("member", "a : c d f", "no", "none", "yes"),
    ("count", "a : c a f a", "2", "a a", "3"),
    ("count", "a : c d f", "0", "none", "1"),
    ("count", "a : a a a a a a a a a", "9", "a a a a a a a a a", "0"),
    ("reverse", "a c f", "f c a", "a c f", "a c f"),
    ("sort", "7 12 3", "3 7 12", "7 12 3", "12 7 3"),
    ("lookup", "c : a 3 c 7 f 12", "7", "c = 7", "3"),
    ("lookup", "a : a 3 c 7", "3", "a = 3", "3"),
    ("describe", "a c f", "the items are a and c and f", "3 items", "the items are a and c"),
    ("describe", "a c f d", "here we see a then c then f then d", "4 items", ""),
    ("describe", "a c f d a", "this list holds a with c with f with d with a", "5 items", ""),
]

NOT_INPUTS = [
    ("first", ""),
    ("first", "a 7"),
    ("first", "a z"),
    ("compare", "7 7"),
    ("compare", "7 12 3"),
    ("compare", "7 a"),
    ("max", "7 99"),
    ("majority", "a c"),
    ("majority", "a a a"),
    ("majority", "a b c"),
    ("member", "a c a"),
    ("member", "a :"),
    ("count", "7 : 7 7"),
    ("lookup", "c : a 3"),
    ("lookup", "c : c 3 a"),
    ("lookup", "c : c a"),
    ("lookup", "c :"),
]


def words(text: str) -> Words:
    return tuple(text.split())


@pytest.mark.parametrize(("name", "text", "gold", "explanation", "error"), GOLDEN)
def test_golden_cases(name: str, text: str, gold: str, explanation: str, error: str) -> None:
    family = FAMILIES[name]
    assert family.fits(words(text), LETTERS_AND_NUMBERS)
    assert family.gold(words(text)) == words(gold)
    assert family.explain(words(text)) == words(explanation)
    if error:
        assert family.systematic_error(words(text)) == words(error)


def test_every_family_has_a_golden_case() -> None:
    assert {case[0] for case in GOLDEN} == set(FAMILIES)


@pytest.mark.parametrize(("name", "text"), NOT_INPUTS)
def test_what_is_no_input_is_told_apart(name: str, text: str) -> None:
    assert not FAMILIES[name].fits(words(text), LETTERS_AND_NUMBERS)


@given(
    name=st.sampled_from(list(FAMILIES)),
    seed=st.integers(0, 2**32),
    length=st.integers(3, 8),
)
def test_drawn_inputs_fit_and_their_answers_are_what_they_claim(
    name: str, seed: int, length: int
) -> None:
    family, rng = FAMILIES[name], random.Random(seed)
    drawn = family.draw(rng, LETTERS_AND_NUMBERS, length)
    gold, error = family.gold(drawn), family.systematic_error(drawn)
    assert family.fits(drawn, LETTERS_AND_NUMBERS)
    assert family.is_right(gold, gold)
    assert not family.is_right(gold, ())
    assert family.is_right(gold, error) == (error == gold)
    assert family.explain(drawn)


@given(seed=st.integers(0, 2**32), length=st.integers(3, 8))
def test_inputs_are_as_long_as_asked(seed: int, length: int) -> None:
    def size(name: str) -> int:
        return len(FAMILIES[name].draw(random.Random(seed), LETTERS_AND_NUMBERS, length))

    assert {size(name) for name in ("first", "last", "max", "reverse", "sort", "describe")} == {
        length
    }
    assert size("majority") == length + (length % 2 == 0)
    assert size("member") == size("count") == 2 + length
    assert size("lookup") == 2 + 2 * max(2, length - 2)
    assert size("compare") == 2


def test_inputs_are_balanced_between_answers() -> None:
    rng = random.Random(0)
    members = [FAMILIES["member"].draw(rng, LETTERS_AND_NUMBERS, 5) for _ in range(2000)]
    counts = [FAMILIES["count"].draw(rng, LETTERS_AND_NUMBERS, 5) for _ in range(2000)]
    num_yes = sum(FAMILIES["member"].gold(drawn) == ("yes",) for drawn in members)
    assert 900 < num_yes < 1100
    assert {FAMILIES["count"].gold(drawn) for drawn in counts} == {(c,) for c in "0123"}


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ("the items are a and c and a", True),
        ("here we see a then a then c", True),
        ("anything with a and a or c", True),
        ("the items are a and c", False),
        ("the items are a and c and a and a", False),
        ("the items are a and c and a and f", False),
        ("a c a", False),
        ("", False),
    ],
)
def test_any_sentence_with_all_items_describes_a_list(answer: str, is_right: bool) -> None:
    describe = FAMILIES["describe"]
    assert describe.is_right(describe.gold(("a", "c", "a")), words(answer)) is is_right


def test_every_paraphrase_has_a_verb_and_noun_pair_of_its_own() -> None:
    sentences = [sentence for family in FAMILIES.values() for sentence in family.paraphrases]
    pairs = [(sentence.split()[0], _object(sentence)) for sentence in sentences]
    assert all(len(family.paraphrases) >= 3 for family in FAMILIES.values())
    assert len(set(pairs)) == len(pairs) == 33


def _object(sentence: str) -> str:
    """The noun of the first noun phrase: the word before a preposition, or the last."""
    phrase = sentence.replace(" for ", " of ").split(" of ")[0]
    return phrase.split()[-1]


def test_unseen_paraphrases_are_new_sentences_in_known_words() -> None:
    seen = list(chain.from_iterable(family.paraphrases for family in FAMILIES.values()))
    for family in FAMILIES.values():
        assert family.unseen_paraphrase not in seen
        known = set(chain.from_iterable(sentence.split() for sentence in family.paraphrases))
        assert set(family.unseen_paraphrase.split()) <= known, family.name
