"""Calls of the encoder on batches of windows, within a bounded memory."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.tokens import Doc
from spacy_transformers.data_classes import WordpieceBatch
from thinc.api import Model, get_torch_default_device, torch2xp
from transformers.file_utils import ModelOutput

from ...errors import ClinicalNerError
from ...tags.encode import document_id
from ..onednn import without_onednn
from ..threads import side_by_side
from .cutting import batches_by_length
from .window_settings import SpecialTokens, WindowSettings
from .wordpieces import Wordpieces

#: How PyTorch says that the memory of a CPU is used up; it has no exception for that.
CPU_MEMORY = ("can't allocate memory", "not enough memory")
#: Documents that a message names.
NAMED = 3
#: Most wordpieces of a call in prediction on a CPU. Where threads make calls of their own, those
#: from 384 to 1024 were as fast as each other. What all threads need at a time is the more memory
#: the larger the calls, and the more uneven: it comes to its full height after many notes.
CPU_CALL = 512


class Window(NamedTuple):
    """A window of a document: see ``windows.Windows``.

    Attributes:
        doc: index of the document in the batch.
    """

    doc: int
    start: int
    end: int
    core_start: int
    core_end: int


#: Takes the gradient of a call's output. *Shape:* that of the output.
Backprop = Callable[[torch.Tensor], None]


class EncoderCall(NamedTuple):
    """One call of the encoder that is done.

    Attributes:
        windows: its rows.
        output: vectors of the wordpieces. *Shape:* ``(rows, length, width)``.
    """

    windows: list[Window]
    output: torch.Tensor
    backprop: Backprop


@dataclass(frozen=True)
class Encoder:
    """An encoder, in the stock wrapper around it, that is called on windows."""

    model: Model
    special: SpecialTokens
    settings: WindowSettings
    pieces: Sequence[Wordpieces]
    docs: Sequence[Doc]

    def predict(self, windows: Sequence[Window], vectors: Sequence[Any]) -> None:
        """Encode windows, in batches of similar length, and store the vectors of their cores.

        On a CPU, calls are small, and several are made at a time.

        ``vectors`` of each document, *shape* ``(wordpieces, width)``, are filled.

        Raises:
            ClinicalNerError: out of memory, after a batch was halved.
        """

        def encode(batch: list[Window]) -> None:
            for call in self._calls(batch, self._predicted):
                self.store(call, vectors)

        items = self.settings.max_batch_items
        if not on_cpu():
            for batch in self._batches(windows, items):
                encode(batch)
            return
        # Here and not by the wrapper, which would leave the module one for training again while
        # other threads compute with it.
        self.model.shims[0]._model.eval()
        items = cpu_items(sum(map(self._length, windows)), items)
        # Stored by the thread that made them: what outlives a call makes holes in a thread's heap.
        with without_onednn():
            for _ in side_by_side(encode, self._batches(windows, items)):
                pass

    def training_calls(self, windows: Sequence[Window]) -> Iterator[EncoderCall]:
        """Encode windows, in batches of similar length, for a backward pass.

        The first calls keep what their backward pass needs, as long as they have no more
        wordpieces together than ``max_batch_items``; later ones compute it again. So a batch of any
        size needs no more memory than that, and one of usual size nothing twice.

        Raises:
            ClinicalNerError: out of memory, after a batch was halved.
        """
        kept = 0
        for batch in self._batches(windows, self.settings.max_batch_items):
            kept += len(batch) * max(self._length(window) for window in batch)
            keeps = kept <= self.settings.max_batch_items
            yield from self._calls(batch, self._kept if keeps else self._recomputed)

    def store(self, call: EncoderCall, vectors: Sequence[Any]) -> None:
        """Take the vectors of cores from the output of a call; see ``predict``."""
        found: Any = torch2xp(call.output.detach())
        for row, (doc, in_doc, in_row) in enumerate(self.cores(call.windows)):
            vectors[doc][in_doc] = found[row, in_row]

    def _batches(self, windows: Sequence[Window], max_items: int) -> list[list[Window]]:
        lengths = np.array([self._length(window) for window in windows], dtype=np.int64)
        return [[windows[row] for row in rows] for rows in batches_by_length(lengths, max_items)]

    def _length(self, window: Window) -> int:
        return window.end - window.start + self.special.count

    def _calls(
        self, batch: list[Window], encode: Callable[[list[Window], WordpieceBatch], EncoderCall]
    ) -> Iterator[EncoderCall]:
        """The batch as one call, or as two where the memory is too small for one."""
        call = self._attempt(batch, encode)
        if call is not None:
            yield call
            return
        if len(batch) == 1:
            raise self._too_large(
                batch,
                "Out of memory: one window of {length} wordpieces is too much. Lower "
                "max_wordpieces of the transformer (now {longest}). Document: {documents}.",
            )
        middle = (len(batch) + 1) // 2
        for half in (batch[:middle], batch[middle:]):
            call = self._attempt(half, encode)
            if call is None:
                raise self._too_large(
                    half,
                    "Out of memory: {rows} windows of {length} wordpieces, after a batch was "
                    "halved. Lower max_batch_items of the transformer (now {items}). Documents: "
                    "{documents}.",
                )
            yield call

    def _attempt(
        self, batch: list[Window], encode: Callable[[list[Window], WordpieceBatch], EncoderCall]
    ) -> EncoderCall | None:
        """A call, or None if the memory is too small."""
        inputs = self._inputs(batch)
        try:
            return encode(batch, inputs)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Out of the clause, whose traceback would keep the tensors of the failed call alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _predicted(self, batch: list[Window], inputs: WordpieceBatch) -> EncoderCall:
        """A call in prediction, without a backward pass."""
        if on_cpu():
            arguments, _ = self.model.attrs["convert_inputs"](self.model, inputs, False)
            with torch.inference_mode():
                output = self.model.shims[0]._model(*arguments.args, **arguments.kwargs)
        else:
            output, _ = self.model(inputs, False)
        return EncoderCall(batch, output.last_hidden_state, lambda gradient: None)

    def _kept(self, batch: list[Window], inputs: WordpieceBatch) -> EncoderCall:
        """A call in training that keeps what its backward pass needs."""
        output, backprop = self.model(inputs, True)
        return EncoderCall(batch, output.last_hidden_state, self._accumulating(batch, backprop))

    def _recomputed(self, batch: list[Window], inputs: WordpieceBatch) -> EncoderCall:
        """A call in training whose backward pass makes the forward pass again.

        With the same random numbers, so that the same units are dropped.
        """
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        state = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
        with torch.no_grad():
            output, _ = self.model(inputs, True)

        def backprop(gradient: torch.Tensor) -> None:
            with torch.random.fork_rng(devices):
                torch.set_rng_state(state[0])
                for device, of_device in zip(devices, state[1], strict=True):
                    torch.cuda.set_rng_state(of_device, device)
                _, again = self.model(inputs, True)
            self._accumulating(batch, again)(gradient)

        return EncoderCall(batch, output.last_hidden_state, backprop)

    def _accumulating(
        self, batch: list[Window], backprop: Callable[[ModelOutput], Any]
    ) -> Backprop:
        """The backward pass of a call, which adds to the gradients of earlier ones."""

        def accumulate(gradient: torch.Tensor) -> None:
            try:
                with _scaled_apart(self.model.shims[0]):
                    backprop(ModelOutput(last_hidden_state=gradient))
                return
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            # Not tried again: some gradients of this call may have been added already.
            raise self._too_large(
                batch,
                "Out of memory in the backward pass of {rows} windows of {length} wordpieces. "
                "Lower max_batch_items of the transformer (now {items}). Documents: {documents}.",
            )

        return accumulate

    def _inputs(self, batch: list[Window]) -> WordpieceBatch:
        special, lengths = self.special, [w.end - w.start for w in batch]
        shape = (len(batch), max(lengths) + special.count)
        ids: Any = np.full(shape, special.pad, dtype=np.int64)
        mask: Any = np.zeros(shape, dtype=np.float32)
        types: Any = None if special.types is None else np.zeros(shape, dtype=np.int64)
        for row, (window, length) in enumerate(zip(batch, lengths, strict=True)):
            start, end = len(special.prefix), len(special.prefix) + length
            last = end + len(special.suffix)
            ids[row, :start] = special.prefix
            ids[row, start:end] = self.pieces[window.doc].ids[window.start : window.end]
            ids[row, end:last] = special.suffix
            mask[row, :last] = 1
            if types is not None and special.types is not None:
                types[row, :start], types[row, start:end], types[row, end:last] = special.types
        return WordpieceBatch(
            # The encoder looks at none of them.
            strings=[[]] * len(batch),
            input_ids=ids,
            attention_mask=mask,
            lengths=[length + special.count for length in lengths],
            token_type_ids=types,
        )

    def cores(self, windows: list[Window]) -> Iterator[tuple[int, slice, slice]]:
        """Where the vectors of a call's cores stand, one row after the other.

        Yields:
            Index of the document, the wordpieces in the document, and in the row.
        """
        first = len(self.special.prefix)
        for window in windows:
            in_row = slice(
                first + window.core_start - window.start, first + window.core_end - window.start
            )
            yield window.doc, slice(window.core_start, window.core_end), in_row

    def _too_large(self, batch: list[Window], message: str) -> ClinicalNerError:
        indices = sorted({window.doc for window in batch})
        names = [document_id(self.docs[index]) for index in indices[:NAMED]]
        return ClinicalNerError(
            message.format(
                rows=len(batch),
                length=max(w.end - w.start for w in batch) + self.special.count,
                items=self.settings.max_batch_items,
                longest=self.settings.max_wordpieces,
                documents=", ".join(names) + (" ..." if len(indices) > NAMED else ""),
            )
        )


def on_cpu() -> bool:
    """Whether encoders compute on the CPU."""
    return get_torch_default_device().type == "cpu"


def cpu_items(wordpieces: int, max_batch_items: int) -> int:
    """Most wordpieces of a call in prediction on the CPU, so that all its threads have work."""
    share = -(-wordpieces // torch.get_num_threads())
    return min(max_batch_items, CPU_CALL, max(share, 1))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the CPU or the GPU is used up."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in CPU_MEMORY)


@contextlib.contextmanager
def _scaled_apart(shim: Any) -> Iterator[None]:
    """Keep earlier gradients out of the way while one more backward pass adds to them.

    With mixed precision, the shim of thinc divides by the scale what it finds after each pass: the
    gradients of an earlier one would be divided twice.
    """
    if not shim._mixed_precision:
        yield
        return
    earlier = [(p, p.grad) for p in shim._model.parameters() if p.grad is not None]
    for parameter, _ in earlier:
        parameter.grad = None
    yield
    for parameter, gradient in earlier:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def gradient_like(output: torch.Tensor, cores: Iterator[tuple[Any, slice]]) -> torch.Tensor:
    """Gradient of a call's output: zero but for what belongs to a core.

    Args:
        output: of the encoder.
        cores: gradient of each row's core, *shape* ``(wordpieces, width)``, and its place in it.
    """
    gradient = torch.zeros_like(output)
    for row, (values, in_row) in enumerate(cores):
        gradient[row, in_row] = values
    return gradient
