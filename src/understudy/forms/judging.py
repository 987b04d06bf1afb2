"""Asks for a review of two answers to a question, with a score of 1 to 10 for each.

The form of the Vicuna evaluation: the question and both answers in marked sections, two numbers on
the first line of the review, the reasons after them (Peng et al. 2023, section 4.2). Wording ours.
"""

from __future__ import annotations

from understudy.forms.form import Form

PAIR_REVIEW = Form(
    name="pair_review",
    text=(
        "[Question]\n{question}\n\n"
        "[The Start of Assistant 1's Answer]\n{answer_1}\n\n"
        "[The End of Assistant 1's Answer]\n\n"
        "[The Start of Assistant 2's Answer]\n{answer_2}\n\n"
        "[The End of Assistant 2's Answer]\n\n"
        "[System]\n"
        "Review both answers to the question above: how helpful, relevant, accurate and detailed "
        "each of them is. Give each assistant a score from 1 to 10, where a higher score is a "
        "better answer. Write on the first line the two scores alone, that of Assistant 1 first, "
        "with a space between them. Explain them on the lines below. The order in which the "
        "answers stand must not matter."
    ),
)
