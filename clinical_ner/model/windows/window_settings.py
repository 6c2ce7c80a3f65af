"""How long windows may be, checked against the encoder that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, check_number

#: Outputs that an encoder can be asked for, and that would be computed for nothing.
UNUSED_OUTPUTS = ("output_hidden_states", "output_attentions")


@dataclass(frozen=True)
class WindowSettings:
    """The settings of the windows, in wordpieces; see ``build_windowed_transformer``.

    Raises:
        ClinicalNerError: a number out of range, a context that fills the window, or a batch that
            cannot hold one window.
    """

    max_wordpieces: int
    context: int
    training_context: int
    max_batch_items: int
    training_shift: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for setting in ("max_wordpieces", "context", "training_context", "max_batch_items"):
            least = 0 if "context" in setting else 1
            name = f"{setting} of the transformer"
            check_number(name, getattr(self, setting), least=least, integer=True)
        self.check_context(0)
        if self.max_batch_items < self.max_wordpieces:
            raise ConfigError(
                f"max_batch_items of the transformer is {self.max_batch_items}, too few for one "
                f"window of max_wordpieces = {self.max_wordpieces}: set it to "
                f"{self.max_wordpieces} or more."
            )

    def check_context(self, special: int) -> None:
        """Raise ClinicalNerError unless contexts and special tokens leave a place in a window."""
        for setting in ("context", "training_context"):
            value = getattr(self, setting)
            if 2 * value >= self.max_wordpieces - special:
                raise ConfigError(
                    f"{setting} of the transformer is {value}: on both sides it fills a window of "
                    f"max_wordpieces = {self.max_wordpieces}, {special} of them special tokens. "
                    f"Set it to at most {max((self.max_wordpieces - special - 1) // 2, 0)}."
                )


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens that a tokenizer puts around a text.

    Attributes:
        prefix: ids of those before it, as `suffix` of those behind.
        pad: id that fills up shorter rows.
        types: token type ids of the prefix, of a wordpiece and of the suffix, or None if the
            encoder takes none.
    """

    prefix: NDArray[np.int64]
    suffix: NDArray[np.int64]
    pad: int
    types: tuple[NDArray[np.int64], int, NDArray[np.int64]] | None

    @property
    def count(self) -> int:
        """How many places of a window they take."""
        return len(self.prefix) + len(self.suffix)

    @classmethod
    def of(cls, tokenizer: Any) -> SpecialTokens:
        """Find them by an example, which works for any fast tokenizer."""
        probe = tokenizer("a", return_special_tokens_mask=True, truncation=False, verbose=False)
        ids = np.array(probe["input_ids"], dtype=np.int64)
        (pieces,) = np.nonzero(~np.array(probe["special_tokens_mask"], dtype=bool))
        # A tokenizer may know no "a": what stands for unknown characters can pass for special.
        count = tokenizer.num_special_tokens_to_add()
        first = int(pieces[0]) if len(pieces) else (count + 1) // 2
        last = len(ids) - (count - first)
        types = None
        if "token_type_ids" in tokenizer.model_input_names:
            found = np.array(probe["token_type_ids"], dtype=np.int64)
            types = (found[:first], int(found[first]) if last > first else 0, found[last:])
        pad = tokenizer.pad_token_id
        return cls(ids[:first], ids[last:], 0 if pad is None else pad, types)


def check_encoder(name: str, tokenizer: Any, transformer: Any, settings: WindowSettings) -> None:
    """Raise ClinicalNerError unless an encoder can read windows of these settings.

    Its name is for messages.
    """
    if not tokenizer.is_fast:
        raise ConfigError(
            f"The tokenizer of encoder '{name}' does not tell where in the text a wordpiece "
            "stands: set use_fast = true in tokenizer_config, or choose an encoder that has a "
            "fast tokenizer."
        )
    for output in UNUSED_OUTPUTS:
        if getattr(transformer.config, output, False):
            raise ConfigError(
                f"The transformer was asked for {output}, which windows do not keep: remove it "
                "from transformer_config."
            )
    limit = longest_window(tokenizer, transformer)
    if limit is not None and settings.max_wordpieces > limit:
        raise ConfigError(
            f"max_wordpieces of the transformer is {settings.max_wordpieces}, but encoder "
            f"'{name}' has {limit} places, special tokens included: set it to at most {limit}."
        )
    settings.check_context(SpecialTokens.of(tokenizer).count)


def longest_window(tokenizer: Any, encoder: Any) -> int | None:
    """Longest window that an encoder reads, in wordpieces, special tokens included.

    The least of what the tokenizer says, what the configuration says, and the size of the table of
    positions. Models of the family of RoBERTa count positions from behind that of the padding.

    Args:
        tokenizer: of the encoder.
        encoder: a transformer, or its configuration alone, which has no table of positions.

    Returns:
        None where no limit is known.
    """
    limits = [getattr(tokenizer, "model_max_length", None)]
    limits.append(getattr(getattr(encoder, "config", encoder), "max_position_embeddings", None))
    for part, module in encoder.named_modules() if hasattr(encoder, "named_modules") else ():
        if part.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            padding = getattr(module, "padding_idx", None)
            limits.append(module.num_embeddings - (0 if padding is None else padding + 1))
    # Tokenizers without a limit give a number of 30 digits, configurations give 0 or less.
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 10**9]
    return min(known, default=None)
