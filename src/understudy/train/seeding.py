"""The one seed function: every global random generator of the process."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python's, numpy's and torch's global generators, on all devices, with ``seed``.

    Data order and sampling do not depend on it: they draw from generators of their own. Unlike
    Lightning's function it leaves nothing in the environment.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
