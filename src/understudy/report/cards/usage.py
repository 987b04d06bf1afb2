"""How a model is loaded and asked, as code that runs when it is pasted."""

from __future__ import annotations

_CAUSAL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {where!r}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = {prompt!r}
inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens={special})
inputs.pop("token_type_ids", None)
answer = model.generate(**inputs, max_new_tokens=256)[0, inputs["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))"""

_REWARD = """\
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = {where!r}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
text = {prompt!r} + "An answer." + tokenizer.eos_token
inputs = tokenizer(text, return_tensors="pt", add_special_tokens={special})
inputs.pop("token_type_ids", None)
scale, shift = (getattr(model.config, name, default)
                for name, default in (("reward_scale", 1.0), ("reward_shift", 0.0)))
print(model(**inputs).logits.item() * scale + shift)"""

_POOLED = """\
from pathlib import Path

from understudy.encoding import Encoder
from understudy.models.folders import read_template
from understudy.models.reward import reward_source, score_answers
from understudy.records import Instruction

folder = {where!r}
source = reward_source(folder)
tokenizer = source.tokenizer()
model = source.load(tokenizer).eval()
encoder = Encoder(tokenizer, read_template(Path(folder)), max_length={window})
prompt = Instruction(id="1", instruction="Name three colors.")
print(score_answers(model, encoder, [prompt], [["Red, green, blue."]], max_tokens=4096))"""


def causal_code(where: str, prompt: str, *, is_chat: bool) -> str:
    """Code that answers ``prompt`` by a causal LM in ``where``.

    A prompt that a chat template wrote has its special tokens already.
    """
    return _CAUSAL.format(where=where, prompt=prompt, special=not is_chat)


def reward_code(where: str, prompt: str, *, is_chat: bool) -> str:
    """Code that scores an answer to ``prompt``."""
    return _REWARD.format(where=where, prompt=prompt, special=not is_chat)


def pooled_code(where: str, window: int) -> str:
    """The same where several hidden states become one in our way, which others do not know."""
    return _POOLED.format(where=where, window=window)
