"""Asks for the Chinese of an instruction and its input (Peng et al. 2023, section 2).

The authors translated with ChatGPT and did not release their prompt; the wording is ours. What a
translation must keep is said in it and checked afterwards.
"""

from __future__ import annotations

from understudy.forms.form import Form

TO_CHINESE = Form(
    name="to_chinese",
    text=(
        "Translate the task below into Simplified Chinese. Translate it, do not carry it out. Keep "
        "code, links, numbers and names of files and variables exactly as they are. Answer with "
        "the translation alone.\n\n"
        "### Task:\n{text}\n### End of Task"
    ),
)
"""One field a call: ``text`` is the instruction, or the input."""
