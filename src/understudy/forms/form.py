"""A text with slots, that is filled in, hashed, and read back by who has to answer it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Form:
    """A text with slots such as ``{response}``.

    Attributes:
        name: What manifests call it.
        text: The text; each slot stands in it once.
    """

    name: str
    text: str

    def render(self, **values: str) -> str:
        """The text with all slots filled. Values are joined in, so braces in them stay.

        Raises:
            ValueError: A slot has no value, or a value no slot.

        >>> Form("f", "Rate: {response}").render(response="{x}")
        'Rate: {x}'
        """
        if values.keys() != set(self.slots):
            raise ValueError(f"form {self.name!r} has the slots {list(self.slots)}")
        return _SLOT.sub(lambda slot: values[slot.group(1)], self.text)

    def taken_apart(self, text: str) -> dict[str, str] | None:
        """The values that a text was filled in with; null where it is none of this form.

        >>> Form("f", "Rate: {response} Now.").taken_apart("Rate: all right Now.")
        {'response': 'all right'}
        >>> Form("f", "Rate: {response} Now.").taken_apart("Hello")
        """
        parts = [re.escape(part) for part in _SLOT.split(self.text)[::2]]
        pattern = "".join(
            f"{part}(?P<{slot}>.*?)" for part, slot in zip(parts, (*self.slots, ""), strict=True)
            if slot
        )  # fmt: skip
        found = re.fullmatch(pattern + parts[-1], text, re.DOTALL)
        return None if found is None else found.groupdict()

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots, in their order."""
        return tuple(_SLOT.findall(self.text))

    @property
    def sha256(self) -> str:
        """Hash of the text with its slots."""
        return hashlib.sha256(self.text.encode()).hexdigest()
