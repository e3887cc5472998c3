"""Cross-entropy, as fast for ten classes as for a hundred.

Torch's softmax works along the classes with vector instructions, which a handful of classes
leave half empty. With the classes first, the same call works along the rows: for 2048 rows of
ten classes in a quarter of the time, a tenth of a small MLP's forward pass (benchmarks/).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# Classes that fill a vector register, and rows that pay for the change of layout (ours, measured).
A_VECTOR, ENOUGH_ROWS = 16, 128


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``torch.nn.functional.cross_entropy(logits, labels)``, to rounding."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"cross-entropy needs logits, a tensor (N, C), and the model returned {type(logits).__name__}; "
            "give a criterion(output, target) that picks them out."
        )
    few = logits.ndim == 2 and logits.shape[1] < A_VECTOR and len(logits) >= ENOUGH_ROWS
    if not few or logits.device.type != "cpu" or labels.ndim != 1:
        return F.cross_entropy(logits, labels)
    return F.cross_entropy(logits.t().contiguous()[None], labels[None])
