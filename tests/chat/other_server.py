"""An OpenAI-compatible server that is not ours: llama.cpp's, with a tiny model of random weights.

It shares no line with the lab's server, so an error that our client and our server have in common
shows here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np

WORDS = ("say", "a", "word", "or", "two", "about", "it", "and", "then", "stop")
_START_SECONDS = 60.0
_HIDDEN, _INNER, _HEADS, _WINDOW = 32, 64, 2, 512
_SPECIAL = ("<unk>", "<s>", "</s>")
_END = 2
_WORD_TOKENS = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in WORDS]

SERVE = """
import sys
import xllamacpp
model, key = sys.argv[1:3]
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = model, ["tiny"]
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 2048, 4, 1
params.warmup, params.verbosity, params.cache_prompt = False, 0, False
params.api_keys = [key] if key else []
server = xllamacpp.Server(params)
print("at", server.listening_address, flush=True)
sys.stdin.read()
"""
"""A process of its own: whatever the library does, the tests go on, and it ends with them."""


def write_gguf(path: Path) -> Path:
    """A LLaMA of one layer whose answers are words of ``WORDS``, in the format of llama.cpp."""
    writer = gguf.GGUFWriter(str(path), "llama")
    tokens = _write_vocabulary(writer)
    writer.add_context_length(_WINDOW)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_HIDDEN // _HEADS)
    writer.add_vocab_size(len(tokens))
    for name, weights in _weights(tokens).items():
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_vocabulary(writer: gguf.GGUFWriter) -> list[str]:
    """SentencePiece's: special tokens, all bytes, the words with a space before each, letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_WORD_TOKENS, *letters]
    kind = gguf.TokenType
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    kinds += [kind.NORMAL] * (len(tokens) - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(each) for each in kinds])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(_END)
    writer.add_unk_token_id(0)
    writer.add_chat_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    )
    return tokens


def _weights(tokens: list[str]) -> dict[str, np.ndarray]:
    """Random weights; the first hidden dimension is a constant that keeps other tokens unsaid."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) * 0.3

    said = {*_WORD_TOKENS, tokens[_END]}
    embedded, head = random(len(tokens), _HIDDEN), random(len(tokens), _HIDDEN)
    embedded[:, 0] = 2.0
    head[:, 0] = [0.0 if token in said else -100.0 for token in tokens]
    head[_END, 0] = 1.5
    weights = {"token_embd": embedded, "output": head, "output_norm": np.ones(_HIDDEN)}
    weights |= {f"blk.0.{name}_norm": np.ones(_HIDDEN) for name in ("attn", "ffn")}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        weights[f"blk.0.{name}"] = random(_HIDDEN, _HIDDEN)
    weights |= {f"blk.0.ffn_{name}": random(_INNER, _HIDDEN) for name in ("gate", "up")}
    weights["blk.0.ffn_down"] = random(_HIDDEN, _INNER)
    for name in ("attn_output", "ffn_down"):
        weights[f"blk.0.{name}"][0] = 0.0
    return weights


@contextmanager
def serving(model: Path, *, key: str = "") -> Iterator[str]:
    """The server's base URL, for the block; it wants ``key`` where one is given."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model), key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if line.startswith("at "):
                    yield line.split()[1] + "/v1"
                    return
            raise RuntimeError(f"llama.cpp's server did not start: {''.join(said[-5:])}")
        finally:
            process.kill()
            process.wait()
