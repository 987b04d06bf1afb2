"""How likely a model finds the references: per-token loss after the prompt.

Peng et al. 2023 report no such number; it is what section 3.1 minimises, on answers held out. Every
student is scored on every teacher's answers: a student x teacher matrix, in which arms can be
compared column by column, as their own validation losses cannot. Rows
are encoded as in training, but a reference that would be cut has no loss: a part is no measure of
the whole. Training's own likelihood needs segment attention, so here are padded batches, which any
causal model takes; padding is on the right, where no real token sees it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from understudy.encoding import EncodedRows, Encoder, NothingFitsError
from understudy.models.generate import answering
from understudy.records import Completion, Question

_CHUNK_LOGITS = 2**24  # in float32, at once
_BATCH_LOGITS = 2**28  # in the model's own type, of a whole batch


def reference_losses(
    policy: PreTrainedModel,
    encoder: Encoder,
    questions: Sequence[Question],
    *,
    batch_tokens: int = 16_384,
) -> list[dict[str, float | None]]:
    """For each question, each author's answer's loss: the mean NLL a token, in nats.

    The end token counts. A reference that is blank, does not fit the window and the model's
    positions, or has no finite loss, has null. The policy comes back in the mode and with the
    attention that it had.

    Args:
        policy: The model.
        encoder: How a prompt and its answer become tokens.
        questions: Instructions with their references.
        batch_tokens: Tokens of a batch, padding included; less where the vocabulary is large.
    """
    completions: list[Completion] = []
    places: list[tuple[int, str]] = []
    for index, question in enumerate(questions):
        for author, reference in question.references.items():
            if reference.strip():
                prompt = replace(question.prompt, id=str(len(completions)))
                completions.append(Completion(prompt, reference, author))
                places.append((index, author))
    losses: list[dict[str, float | None]] = [dict.fromkeys(each.references) for each in questions]
    rows = _encoded(policy, encoder, completions)
    if rows is not None:
        for name, loss in zip(rows.ids, _row_losses(policy, rows, batch_tokens), strict=True):
            index, author = places[int(name)]
            losses[index][author] = loss if isfinite(loss) else None
    return losses


def _encoded(
    policy: PreTrainedModel, encoder: Encoder, completions: Sequence[Completion]
) -> EncodedRows | None:
    """Whole rows with labels on the answers alone; None where nothing fits."""
    config = policy.config.get_text_config()
    num_positions: int | None = getattr(config, "max_position_embeddings", None)
    whole_rows = replace(
        encoder,
        max_length=min(encoder.max_length, num_positions or encoder.max_length),
        overlength="drop",
        train_on_inputs=False,
        train_on_earlier_turns=False,
        max_dropped_fraction=1.0,
    )
    try:
        return whole_rows.encode(completions)
    except NothingFitsError:
        return None


def _row_losses(policy: PreTrainedModel, rows: EncodedRows, batch_tokens: int) -> list[float]:
    """Mean NLL of the labels of each row, in nats."""
    num_logits = policy.config.get_text_config().vocab_size
    limit = min(batch_tokens, max(1, _BATCH_LOGITS // num_logits))
    losses = [0.0] * len(rows)
    with answering(policy):
        for batch in _batches(rows, limit):
            for index, loss in zip(batch, _batch_losses(policy, rows, batch), strict=True):
                losses[index] = loss
    return losses


def _batches(rows: EncodedRows, batch_tokens: int) -> Iterator[list[int]]:
    """Indices of rows in batches of similar length, the longest first."""
    lengths = (rows.offsets[1:] - rows.offsets[:-1]).tolist()
    batch: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _batch_losses(policy: PreTrainedModel, rows: EncodedRows, batch: Sequence[int]) -> list[float]:
    tokens = [torch.from_numpy(rows.row(index).astype("int64")) for index in batch]
    input_ids = pad_sequence(tokens, batch_first=True)
    lengths = torch.tensor([len(each) for each in tokens])
    masks = [torch.from_numpy(rows.mask(index).copy()) for index in batch]
    attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
    # Logits at t predict token t + 1.
    owners, positions = pad_sequence(masks, batch_first=True)[:, 1:].nonzero(as_tuple=True)
    labels = input_ids[owners, positions + 1]
    first = int(positions.min())
    device = policy.device
    logits = _logits(policy, input_ids.to(device), attention_mask.to(device), first=first)
    nll = _nll(logits, owners.to(device), (positions - first).to(device), labels.to(device))
    sums = torch.zeros(len(batch), dtype=torch.float64).index_add_(0, owners, nll.double().cpu())
    means: list[float] = (sums / torch.bincount(owners, minlength=len(batch))).tolist()
    return means


def _logits(
    policy: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, *, first: int
) -> Tensor:
    """The model's logits [rows, seq - first, vocab] from position ``first`` on."""
    takes = inspect.signature(policy.forward).parameters.keys()
    num_kept = input_ids.shape[1] - first
    options = {"logits_to_keep": num_kept} if "logits_to_keep" in takes else {}
    output = policy(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **options)
    logits: Tensor = output.logits[:, -num_kept:]
    return logits


def _nll(logits: Tensor, owners: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
    """NLL [labels] in float32, from few logits at once."""
    size = max(1, _CHUNK_LOGITS // logits.shape[-1])
    chunks = (slice(start, start + size) for start in range(0, len(labels), size))
    return torch.cat(
        [
            F.cross_entropy(logits[owners[c], positions[c]].float(), labels[c], reduction="none")
            for c in chunks
        ]
    )
