"""Cross-entropy with class weights."""

from dataclasses import dataclass

from .weights import WeightedLoss


@dataclass(kw_only=True, eq=False)
class WeightedCrossEntropy(WeightedLoss):
    """-w log softmax(z)[y]: cross-entropy in which the tokens of class c weigh w_c.

    With no signal its optimum is p_c proportional to w_c pi_c, so that the empirical probability is
    softmax(z - log w): weights move what is learned first and best, not what is handed out. Its
    settings are those of ``WeightedLoss``.
    """
