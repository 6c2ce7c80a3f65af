"""A pipeline in spaCy's training loop: what it reads, and what is left if the training fails."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language
from spacy.training import Example
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST, clean_output_dir

from ..errors import ClinicalNerError, InputError
from ..files import written_by
from ..pipeline.info import TRAINED_WITH, installed_versions
from ..pipeline.saving import finish, save_pipeline
from ..tags.encode import document_id

#: Record of a run, beside its models.
RECORD = "training.json"
#: Places that a message names at most.
NAMED = 5
#: What the loop prints, where nobody looks on.
LOG = "training.log"
#: Called at the end of an epoch, with the pipeline and the number of passes that were made.
AtEpoch: TypeAlias = Callable[[Language, int], None]


class TrainingRun:
    """Counts the words that a pipeline learns from, and ends a training in order.

    Attributes:
        nlp: the pipeline, whose methods ``update``, ``evaluate`` and ``to_disk`` are wrapped: the
            loop offers no hook that sees the batch, nor one for errors.
        words: learned from by now; a run may end before its last epoch.
    """

    def __init__(
        self,
        nlp: Language,
        corpus_words: int,
        corpus: Path,
        *,
        stop_after: float = math.inf,
        evaluates: bool = True,
        progress: Iterable[int] = (),
        at_epoch: AtEpoch | None = None,
    ) -> None:
        """Wrap a pipeline.

        Args:
            nlp: the pipeline.
            corpus_words: of one pass.
            corpus: under which the saved models name what they learned from.
            stop_after: passes after which the training ends, at the end of a batch.
            evaluates: if not, an evaluation reads no document, and there is no best model.
            progress: moved on by one with every document.
            at_epoch: called when the weights are those of the end of an epoch.
        """
        self.words = 0
        self._nlp = nlp
        self._corpus_words = corpus_words
        self._corpus = str(corpus)
        self._until = stop_after * corpus_words
        self._evaluates = evaluates
        self._progress = iter(progress)
        self._at_epoch = at_epoch
        self._epochs = 0
        self._update = nlp.update
        nlp.update = _stopping(self.update)  # type: ignore[method-assign]
        # The loop always evaluates, at the latest after its first step.
        evaluate = _stopping(nlp.evaluate) if evaluates else lambda _: {}
        nlp.evaluate = evaluate  # type: ignore[method-assign, assignment]
        nlp.meta.update(written_by("train"), **{TRAINED_WITH: installed_versions()})
        save = partial(save_pipeline, nlp, finished=False)
        nlp.to_disk = _stopping(save)  # type: ignore[method-assign]

    def update(self, examples: Sequence[Example], *args: Any, **kwargs: Any) -> dict[str, float]:
        """Count, then update the pipeline."""
        # Only now that another batch is there, the weights are those of the last one.
        self._end_epoch(self.words // self._corpus_words)
        if self.words >= self._until:
            raise _Finished
        if not self._evaluates:
            # Where the loop wrote a 0 for each score that nobody measured.
            self._nlp.meta["performance"] = {}
        # Only now that the loop has read the config.
        self._nlp.config["paths"]["train"] = self._corpus
        self.words += sum(len(example.reference) for example in examples)
        for _ in islice(self._progress, len(examples)):
            pass
        return self._update(examples, *args, **kwargs)

    def _end_epoch(self, epochs: int) -> None:
        if self._at_epoch is not None and epochs > self._epochs:
            self._epochs = epochs
            self._at_epoch(self._nlp, epochs)

    @contextmanager
    def within(self, output: Path) -> Iterator[None]:
        """The folder of the run, without what an earlier one left there.

        A training that fails, or that is stopped from outside, leaves model-best, if it had an
        evaluation; stopped from outside, this says that it is unfinished. The loop saves model-last
        even then: the weights of a training that came to nothing, which no evaluation has seen.

        Args:
            output: the folder; see `locks.held`.

        Raises:
            ClinicalNerError: what ended the training, with what is left.
        """
        clean_output_dir(output)
        (output / RECORD).unlink(missing_ok=True)
        try:
            with suppress(_Finished):
                yield
                # Batches that are drawn make an epoch about as long as the corpus.
                self._end_epoch(round(self.words / self._corpus_words))
            for name in (DIR_MODEL_BEST, DIR_MODEL_LAST):
                finish(output / name)
            return
        except _Stopped as stopped:
            error = stopped.error
        except ClinicalNerError as refused:
            error = refused
        except BaseException:
            shutil.rmtree(output / DIR_MODEL_LAST, ignore_errors=True)
            raise
        finally:
            for _ in self._progress:
                pass
            if not self._evaluates:
                shutil.rmtree(output / DIR_MODEL_BEST, ignore_errors=True)
        shutil.rmtree(output / DIR_MODEL_LAST, ignore_errors=True)
        best = output / DIR_MODEL_BEST
        if best.exists():
            finish(best)
            raise ClinicalNerError(f"{error} Kept: {best}, the best model until then.") from error
        raise ClinicalNerError(
            f"{error} No evaluation was made before, so no model is kept."
        ) from error


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write what is printed on stdout to the log of a run, in its folder."""
    with (folder / LOG).open("w", encoding="utf-8") as log, redirect_stdout(log):
        yield


class _Finished(BaseException):
    """Ends spaCy's loop, which then saves model-last; see ``_Stopped``."""


class _Stopped(BaseException):
    """Carries an error through spaCy's loop.

    Of any Exception the loop says on stdout that the best model is saved for it, while it saves the
    present one.
    """

    def __init__(self, error: ClinicalNerError) -> None:
        super().__init__(str(error))
        self.error = error


def _stopping(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a pipeline, whose ClinicalNerErrors end the training."""

    def stopping(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except ClinicalNerError as error:
            raise _Stopped(error) from error
        except ValueError as error:
            if not str(error).startswith("[E024]"):
                raise
            raise _Stopped(_unlearnable(args[0])) from None

    return stopping


def _unlearnable(examples: Iterable[Example]) -> InputError:
    """What spaCy's own ner refuses with E024, with the places that it does not say."""
    found = [
        f"{document_id(doc)} at {ent.start_char} {ent.end_char}"
        for doc in (example.reference for example in examples)
        for ent in doc.ents
        if ent.text != ent.text.strip()
    ]
    where = ", ".join(found[:NAMED]) or "none, so that another component is at fault"
    return InputError(
        "spaCy's ner cannot learn this batch (E024). Entities that begin or end with whitespace: "
        f"{where}. Convert the notes with clinical-ner convert, which trims them."
    )
