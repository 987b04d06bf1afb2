"""The eleven task families of the lab, each with a golden answer and a way to be wrong.

Verb and noun pairs are unique to a paraphrase, so a verb-noun analysis has a true count to find.
To add a family, see docs/lab.md.
"""

from __future__ import annotations

import random
from collections import Counter

from understudy.lab.family import Family, Symbols, Words
from understudy.lab.inputs import (
    are_key_and_letters,
    are_key_and_pairs,
    are_letters,
    are_numbers,
    are_two_numbers,
    count_list,
    have_majority,
    key_value_list,
    letter_list,
    member_list,
    number_list,
    two_letter_list,
    two_numbers,
)

_SENTENCES: tuple[tuple[Words, str], ...] = (
    (("the", "items", "are"), "and"),
    (("here", "we", "see"), "then"),
    (("this", "list", "holds"), "with"),
)

# --- answers --------------------------------------------------------------------------------------


def _whole(words: Words) -> Words:
    return words


def _first(words: Words) -> Words:
    return words[:1]


def _last(words: Words) -> Words:
    return words[-1:]


def _ascending(words: Words) -> Words:
    return tuple(sorted(words, key=int))


def _descending(words: Words) -> Words:
    return _ascending(words)[::-1]


def _smallest(words: Words) -> Words:
    return (min(words, key=int),)


def _largest(words: Words) -> Words:
    return (max(words, key=int),)


def _is_bigger(words: Words) -> Words:
    return (*_largest(words), "bigger")


def _most_common(words: Words) -> Words:
    return (Counter(words).most_common(1)[0][0],)


def _alphabetical(words: Words) -> Words:
    return tuple(sorted(words))


def _matches(words: Words) -> Words:
    return tuple(word for word in words[2:] if word == words[0])


def _matches_or_none(words: Words) -> Words:
    return _matches(words) or ("none",)


def _is_member(words: Words) -> Words:
    return ("yes",) if _matches(words) else ("no",)


def _is_no_member(words: Words) -> Words:
    return ("no",) if _matches(words) else ("yes",)


def _num_matches(words: Words) -> Words:
    return (str(len(_matches(words))),)


def _num_matches_and_one(words: Words) -> Words:
    return (str((len(_matches(words)) + 1) % 10),)


def _reversed(words: Words) -> Words:
    return words[::-1]


def _value_of_key(words: Words) -> Words:
    return (words[words.index(words[0], 2) + 1],)


def _key_is_value(words: Words) -> Words:
    return (words[0], "=", *_value_of_key(words))


def _first_value(words: Words) -> Words:
    return (words[3],)


def _sentence(words: Words) -> Words:
    """One of three sentences, by the list's length: 8 words for 3 items, 2 more for each other."""
    opening, link = _SENTENCES[len(words) % len(_SENTENCES)]
    linked = [part for word in words[1:] for part in (link, word)]
    return (*opening, words[0], *linked)


def _sentence_without_last(words: Words) -> Words:
    return _sentence(words)[:-2]


def _num_items(words: Words) -> Words:
    return (str(len(words)), "items")


def _names_all_items(gold: Words, answer: Words) -> bool:
    """True for a sentence that names each item as often as the input does, in any order."""
    items = Counter(word for word in gold if _is_item(word))
    return (
        items == Counter(word for word in answer if _is_item(word)) and len(answer) > items.total()
    )


def _is_item(word: str) -> bool:
    return len(word) == 1 and word.isalpha()


# --- guesses --------------------------------------------------------------------------------------


def _any_letter(rng: random.Random, symbols: Symbols, _words: Words) -> Words:
    return (rng.choice(symbols.letters),)


def _any_number(rng: random.Random, symbols: Symbols, _words: Words) -> Words:
    return (rng.choice(symbols.numbers),)


def _any_digit(rng: random.Random, _symbols: Symbols, _words: Words) -> Words:
    return (str(rng.randrange(10)),)


def _yes_or_no(rng: random.Random, _symbols: Symbols, _words: Words) -> Words:
    return (rng.choice(("yes", "no")),)


def _any_letters(rng: random.Random, symbols: Symbols, words: Words) -> Words:
    return letter_list(rng, symbols, len(words))


def _any_numbers(rng: random.Random, symbols: Symbols, words: Words) -> Words:
    return number_list(rng, symbols, len(words))


def _sentence_of_any_letters(rng: random.Random, symbols: Symbols, words: Words) -> Words:
    return _sentence(_any_letters(rng, symbols, words))


# --- the families ---------------------------------------------------------------------------------

_ALL = (
    Family(
        name="first",
        paraphrases=("give the first item", "name the opening symbol", "pick the initial letter"),
        unseen_paraphrase="give the opening letter",
        draw=letter_list,
        fits=are_letters,
        gold=_first,
        explain=_whole,
        systematic_error=_last,
        guess=_any_letter,
    ),
    Family(
        name="last",
        paraphrases=("return the last item", "show the final symbol", "say the closing letter"),
        unseen_paraphrase="return the final letter",
        draw=letter_list,
        fits=are_letters,
        gold=_last,
        explain=_whole,
        systematic_error=_first,
        guess=_any_letter,
    ),
    Family(
        name="compare",
        paraphrases=(
            "choose the larger number",
            "take the bigger value",
            "tell the greater figure",
        ),
        unseen_paraphrase="choose the greater value",
        draw=two_numbers,
        fits=are_two_numbers,
        gold=_largest,
        explain=_is_bigger,
        systematic_error=_smallest,
        guess=_any_number,
        answer_words=("bigger",),
        has_list=False,
    ),
    Family(
        name="max",
        paraphrases=(
            "find the largest number",
            "report the highest value",
            "select the top figure",
        ),
        unseen_paraphrase="find the highest figure",
        draw=number_list,
        fits=are_numbers,
        gold=_largest,
        explain=_ascending,
        systematic_error=_smallest,
        guess=_any_number,
    ),
    Family(
        name="majority",
        paraphrases=(
            "identify the most common item",
            "detect the dominant symbol",
            "spot the prevailing letter",
        ),
        unseen_paraphrase="identify the dominant letter",
        draw=two_letter_list,
        fits=have_majority,
        gold=_most_common,
        explain=_alphabetical,
        systematic_error=_first,
        guess=_any_letter,
    ),
    Family(
        name="member",
        paraphrases=(
            "check the list for the key",
            "test the row for the target",
            "search the series for the mark",
        ),
        unseen_paraphrase="check the series for the target",
        draw=member_list,
        fits=are_key_and_letters,
        gold=_is_member,
        explain=_matches_or_none,
        systematic_error=_is_no_member,
        guess=_yes_or_no,
        answer_words=("yes", "no", "none"),
    ),
    Family(
        name="count",
        paraphrases=(
            "count the matches of the key",
            "tally the copies of the target",
            "total the hits of the mark",
        ),
        unseen_paraphrase="count the copies of the mark",
        draw=count_list,
        fits=are_key_and_letters,
        gold=_num_matches,
        explain=_matches_or_none,
        systematic_error=_num_matches_and_one,
        guess=_any_digit,
        answer_words=("none",),
    ),
    Family(
        name="reverse",
        paraphrases=("reverse the list", "invert the order", "flip the row"),
        unseen_paraphrase="reverse the order",
        draw=letter_list,
        fits=are_letters,
        gold=_reversed,
        explain=_whole,
        systematic_error=_whole,
        guess=_any_letters,
    ),
    Family(
        name="sort",
        paraphrases=("sort the numbers", "arrange the values", "rank the figures"),
        unseen_paraphrase="sort the figures",
        draw=number_list,
        fits=are_numbers,
        gold=_ascending,
        explain=_whole,
        systematic_error=_descending,
        guess=_any_numbers,
    ),
    Family(
        name="lookup",
        paraphrases=(
            "fetch the value of the key",
            "read the number of the target",
            "get the figure of the mark",
        ),
        unseen_paraphrase="fetch the number of the mark",
        draw=key_value_list,
        fits=are_key_and_pairs,
        gold=_value_of_key,
        explain=_key_is_value,
        systematic_error=_first_value,
        guess=_any_number,
        answer_words=("=",),
    ),
    Family(
        name="describe",
        paraphrases=("describe the list", "present the items", "introduce the letters"),
        unseen_paraphrase="describe the items",
        draw=letter_list,
        fits=are_letters,
        gold=_sentence,
        explain=_num_items,
        systematic_error=_sentence_without_last,
        guess=_sentence_of_any_letters,
        answer_words=tuple(
            dict.fromkeys(word for opening, link in _SENTENCES for word in (*opening, link))
        ),
        is_right=_names_all_items,
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
"""The families by name, in the order of docs/lab.md."""
