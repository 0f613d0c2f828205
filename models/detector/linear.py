"""Linear layers that give a row the same bits, whatever other rows come with it.

A library of matrix products takes rows in tiles. What is left over at the end, and what does not begin at an even
address, it may compute by other code, with other last bits; and few rows by other code than many. All of this depends
on the processor. So here every product has whole tiles, and every row begins at an even address. More threads than one
would share the rows out, and each would have rows left over. So the pipeline scores with one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.windows import TILED_ROWS

EVEN_COLUMNS = 16
"""So many numbers fill a line of the cache, and the longest vector register."""


class Linear(nn.Linear):
    """A linear layer. Without gradients, a row has the same bits, whatever other rows come with it."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps [..., n] to [..., m]."""
        return linear(input, self.weight, self.bias)


def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns `values` [..., n] times a weight [m, n] transposed, plus a bias [m] if there is one, [..., m].

    Without gradients, a row has the same bits, whatever other rows come with it. In training this would be of no use:
    gradients are sums over all rows.
    """
    if torch.is_grad_enabled():
        return F.linear(values, weight, bias)
    values = values.contiguous()  # or torch would multiply one sequence at a time
    size, before = len(weight), values.shape[:-1]
    missing_in, missing_out = -values.shape[-1] % EVEN_COLUMNS, -size % EVEN_COLUMNS
    if missing_in or missing_out:
        values, weight = F.pad(values, (0, missing_in)), F.pad(weight, (0, missing_in, 0, missing_out))
        bias = bias if bias is None else F.pad(bias, (0, missing_out))
    number = before.numel()
    left = number % TILED_ROWS
    if not left:
        return F.linear(values, weight, bias)[..., :size]
    rows, whole = values.reshape(number, values.shape[-1]), number - left
    products = values.new_empty(number, len(weight))
    if whole:
        _multiply(rows[:whole], weight, bias, products[:whole])
    products[whole:] = F.linear(tiled(rows[whole:]), weight, bias)[:left]
    return products[:, :size].reshape(*before, size)


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor | None, products: Tensor) -> None:
    """Sets products [r, m] to what `F.linear` returns of rows [r, n]."""
    if bias is None:
        torch.mm(rows, weight.T, out=products)
    else:
        torch.addmm(bias, rows, weight.T, out=products)


def tiled(rows: Tensor) -> Tensor:
    """Returns rows [n, ...], filled up with zeros to a multiple of TILED_ROWS."""
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, -len(rows) % TILED_ROWS))
