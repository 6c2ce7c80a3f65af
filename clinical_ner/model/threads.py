"""Threads of PyTorch: calls of an encoder side by side, and threads of worker processes."""

from __future__ import annotations

import contextvars
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

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
    child, which waits for them forever. A new process keeps what the environment says.
    In any other process nothing changes.
    """
    forked = os.getpid() != _IMPORTED_IN
    started = multiprocessing.parent_process() is not None
    chosen = any(os.environ.get(name) for name in CHOSEN)
    if (forked or (started and not chosen)) and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results of a function that computes on the CPU, in as many threads as PyTorch has here.

    PyTorch divides each product among its threads, which wait for each other after every one. A
    thread that makes a call of its own waits for nobody: with two of them an encoder was 1.15 to
    1.36 times as fast. So each of these threads gets one thread of PyTorch. They end with the
    iteration: none is there to be lost by a fork.

    Yields:
        One result for each item, in their order.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        yield from map(function, items)
        return
    all_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        # What thinc calculates with is a variable of the context.
        futures = [pool.submit(contextvars.copy_context().run, function, item) for item in items]
        futures.reverse()
        while futures:
            # Not kept, unlike the futures of an iteration over the list: results are large.
            yield futures.pop().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # What a worker sets for itself is also what new threads of this process start with.
        torch.set_num_threads(all_threads)
