"""What stages say in words."""

from __future__ import annotations

from understudy.data.contamination import Match
from understudy.stages.printing import contamination_in_words, unevenly_cut


def test_teachers_cut_much_oftener_than_others_are_named() -> None:
    said = unevenly_cut({"gpt4": 0.36, "gpt35": 0.08}, 512)
    assert said.startswith("cut to 512 tokens are 36% of gpt4's, 8% of gpt35's rows")
    assert said.endswith("raise prompt.max_length")
    assert unevenly_cut({"gpt4": 0.36, "gpt35": 0.33}, 512) == ""
    assert unevenly_cut({"gpt4": 1.0}, 512) == ""


def test_contamination_says_how_many_of_which_set_and_what_was_done() -> None:
    matches = [Match(f"id{n}", f"q{n}", "vicuna80", "exact", 1.0) for n in range(4)]
    matches.append(Match("id4", "q4", "user252", "near", 0.8))
    said = contamination_in_words(matches, "warn")
    assert said.startswith("5 instructions are questions that will be asked (4 exact vicuna80, 1")
    assert "q0, q1, q2, ..." in said
    assert said.endswith("trained on all the same; data.decontaminate=drop leaves them out")
    assert contamination_in_words(matches, "drop").endswith("left out of every arm")
    assert contamination_in_words([], "drop") == "none"
    assert contamination_in_words([], "off") == "not looked for"
