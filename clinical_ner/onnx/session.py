"""An encoder that runs on ONNX Runtime, in the place of one of PyTorch.

To the wrapper of spacy-transformers it is a module like any other, so saving, loading, copying and
calling stay what they are; its only weights are the bytes of an ONNX file.
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

import numpy as np
import torch
from thinc.api import get_torch_default_device
from transformers import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from ..errors import ConfigError, missing_extra
from ..model.threads import limit_threads, side_by_side

#: Names of the encoder's inputs and output in the file. It takes no mask: a call is a row.
INPUTS = ("input_ids", "token_type_ids")
OUTPUT = "last_hidden_state"
#: Key of the bytes among the parameters.
FILE = "onnx"
#: How ONNX Runtime says that the memory is used up; it has no exception for that.
OUT_OF_MEMORY = ("allocate memory", "bad allocation", "bad_alloc")
_MAKING = threading.Lock()


class OnnxEncoder(torch.nn.Module):
    """A pretrained encoder as an ONNX file, for prediction on the CPU.

    Args:
        config: of the encoder that the file was made from.
        file: the content of the file; none before its parameters are loaded.
    """

    #: What `model.encoder.uses_onnx` looks for.
    on_onnx_runtime = True

    def __init__(self, config: PretrainedConfig, file: bytes = b"") -> None:
        super().__init__()
        self.config = config
        self.file = file
        # Also after a fork or through a pickle, the process that made it.
        self._process = os.getpid()
        # By process: a fork has the object of its parent, but not the threads behind it.
        self._sessions: dict[int, Any] = {}

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> OnnxEncoder:
        """An encoder whose file is yet to be loaded, as the wrapper makes it.

        Raises:
            InputError: ONNX Runtime is not installed.
        """
        import_extra("onnxruntime")
        return cls(config)

    @property
    def device(self) -> torch.device:
        """Where it wants its inputs."""
        return torch.device("cpu")

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> BaseModelOutput:
        """Encode rows of wordpieces. *Shape of each input:* ``(rows, length)``.

        Args:
            input_ids: wordpieces.
            attention_mask: 1 for the wordpieces, then 0 for the padding of a shorter row.
            token_type_ids: types of the wordpieces, for encoders that have them.

        Returns:
            Vectors, 0 for padding. *Shape:* ``(rows, length, width)``.

        Raises:
            ConfigError: it is called for training.
            MemoryError: out of memory.
        """
        if self.training:
            raise not_trainable()
        given = zip(INPUTS, (input_ids, token_type_ids), strict=True)
        inputs = {n: tensor.to(torch.int64).numpy() for n, tensor in given if tensor is not None}
        lengths = attention_mask.sum(dim=1).to(torch.int64).tolist()
        vectors = torch.zeros((*input_ids.shape, self.config.hidden_size))
        session = self._session()

        # A row alone has no padding, and its result in 8 bits does not depend on other rows.
        def encode(row: int) -> None:
            length = lengths[row]
            of_row = {key: table[[row], :length] for key, table in inputs.items()}
            # Its exceptions have no class in common but this one.
            try:
                (found,) = session.run([OUTPUT], of_row)
            except Exception as error:
                if any(text in str(error) for text in OUT_OF_MEMORY):
                    raise MemoryError(str(error)) from error
                raise
            vectors[row, :length] = torch.from_numpy(found[0])

        for _ in side_by_side(encode, [row for row, length in enumerate(lengths) if length]):
            pass
        output: Any = vectors.to(get_torch_default_device())
        return BaseModelOutput(last_hidden_state=output)

    def state_dict(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """The file as a tensor of bytes."""
        return {FILE: torch.from_numpy(np.frombuffer(self.file, dtype=np.uint8).copy())}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Take the file from what `state_dict` gave."""
        self.file = state_dict[FILE].cpu().numpy().tobytes()
        self._sessions = {}

    def __getstate__(self) -> dict[str, Any]:
        """All but the sessions, which are of this process."""
        return {**self.__dict__, "_sessions": {}}

    def _session(self) -> Any:
        # Threads that make their first calls at a time share one session.
        with _MAKING:
            if os.getpid() not in self._sessions:
                if self._process != os.getpid():
                    limit_threads()
                self._sessions[os.getpid()] = make_session(self.file)
            return self._sessions[os.getpid()]


def not_trainable() -> ConfigError:
    """What is raised where an encoder on ONNX Runtime is asked to learn."""
    return ConfigError(
        "An encoder on ONNX Runtime predicts and cannot be trained: train the pipeline that it "
        "was made from, then run clinical-ner optimize."
    )


def make_session(file: bytes) -> Any:
    """A session of ONNX Runtime on the CPU, whose calls each run on the thread that makes them.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # It would keep a plan for each shape of the input, of which there are many.
    options.enable_mem_pattern = False
    # Errors are raised; what is left are remarks on the graph and on the machine.
    options.log_severity_level = 3
    return runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def import_extra(package: str) -> Any:
    """A package of the extra ``onnx``.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise missing_extra("An encoder on ONNX Runtime", package, "onnx") from error
