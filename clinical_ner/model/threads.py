"""Threads of PyTorch in worker processes, such as those of ``nlp.pipe(texts, n_process=2)``."""

from __future__ import annotations

import multiprocessing
import os

import torch

#: Variables by which a user says how many threads PyTorch is to have.
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: The process that imported this module, or whose child inherited it by a fork.
_IMPORTED_IN = os.getpid()


def limit_threads() -> None:
    """Give this process one thread of PyTorch if it is a worker that was handed a model.

    By default PyTorch takes all cores in every process, and ONNX Runtime is given as many. So N
    workers have N threads on every core, which wait for each other. With one thread each, N is the
    number of cores in use.

    A forked worker always gets one: the threads that PyTorch had in the parent are not in the
    child, which waits for them forever. One that was started anew keeps what the environment says.
    In any other process nothing changes.
    """
    forked = os.getpid() != _IMPORTED_IN
    started = multiprocessing.parent_process() is not None
    chosen = any(os.environ.get(name) for name in CHOSEN)
    if (forked or (started and not chosen)) and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
