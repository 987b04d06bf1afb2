"""Asks for a rating of one response, alone, from 1 to 10 (Peng et al. 2023, section 3.2).

The criteria, the scale and "the score on the first line" are the authors' (GPT-4-LLM, issue 8); the
wording is ours. Scores are absolute: the other responses to the instruction are not shown.
"""

from __future__ import annotations

from understudy.forms.form import Form

RATING = Form(
    name="rating",
    text=(
        "### Instruction:\n{instruction}\n\n"
        "### Response:\n{response}\n"
        "### End of Response\n\n"
        "Judge the response above to the instruction above. Consider how helpful, how relevant and "
        "how accurate it is, and whether its level of detail is right. Give one overall score from "
        "1 to 10, where a higher score is a better response. Write the score, and nothing else, on "
        "the first line. On the lines after it, explain the score without favouring any style."
    ),
)
"""``instruction`` holds the input, too, below it, where there is one."""
