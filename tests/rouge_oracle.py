"""Google's ROUGE-L, as Alpaca's script has it: the oracle of what is new."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import logging as absl_logging
from rouge_score import rouge_scorer

# rouge-score logs through absl, whose handler closes its stream when logging is set up anew, as
# Hydra does for every job: here that would be the stream pytest captures with.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

_SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)


def google_rouge_l(candidate: str, texts: Sequence[str]) -> list[float]:
    """F of the candidate against each text, tokens by Google's tokenizer, no stems."""
    tokens = _SCORER._tokenizer.tokenize(candidate)
    return [
        float(rouge_scorer._score_lcs(tokens, _SCORER._tokenizer.tokenize(each)).fmeasure)
        for each in texts
    ]
