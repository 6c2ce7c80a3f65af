"""Where new notes differ from those that a model was trained on, so that its probabilities may not
hold for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.vocab import Vocab

from ..data.formats.docbin import read_docbin
from ..errors import InputError
from ..pipeline.recognizer import ClinicalNer
from ..scoring.shift import distance, estimate_shares, permutation_test, rise
from .reviewer import Measured, Reviewer

#: The alarm: the smallest p-value times the number of tests is below this.
LEVEL = 0.05
UNSEEN, UNCERTAINTY, TYPES = "unseen_words", "token_uncertainty", "type_shares"

#: By test, a row for each document.
_Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Reference:
    """What notes are held against.

    Attributes:
        kind: "held out" or "training": the documents of `values`.
        values: of the tests that they allow; see `compare`.
        frequency: training documents that hold a word.
        component: the recognizer of the model.
    """

    kind: str
    values: _Values
    frequency: Counter[str]
    component: ClinicalNer

    @classmethod
    def read(cls, reviewer: Reviewer, training: Path, held_out: Path | None) -> Reference:
        """Read training documents, and let a model annotate those held out.

        Args:
            reviewer: the model; it keeps classes.
            training: the .spacy file that it was trained on.
            held_out: a .spacy file of documents of the same kind that it was not trained on.
                Without it only words can be compared, those of each training document with all the
                others: a model is surer of what it learned from than of any other text.

        Raises:
            InputError: a file cannot be read, or holds no word.
        """
        trained = [
            _words(doc.text, [(of.idx, of.idx + len(of)) for of in doc])
            for doc in read_docbin(training, Vocab())
        ]
        frequency = Counter(word for words in trained for word in set(words))
        kind, values = "training", {UNSEEN: _column(_unseen(of, frequency, 2) for of in trained)}
        if held_out is not None:
            texts = [doc.text for doc in read_docbin(held_out, Vocab())]
            annotated = zip(texts, reviewer.annotate(texts), strict=True)
            notes = [(text, of.measured) for text, of in annotated if of.measured is not None]
            kind, values = "held out", dict(_values(notes, frequency))
        if not len(values[UNSEEN]):
            raise InputError(f"{held_out or training}: holds no word. Name another file.")
        return cls(kind, values, frequency, reviewer.component)

    def measure(self, notes: Sequence[tuple[str, Measured]]) -> _Values:
        """What is tested of notes; see `compare`."""
        return _values(notes, self.frequency)

    def compare(self, notes: Sequence[tuple[str, Measured]]) -> dict[str, Any]:
        """Test, by permutation over documents, whether notes are other ones.

        - ``unseen_words``: the share of a note's words that no training document holds is greater.
        - ``token_uncertainty``: the mean of 1 - max p(class | text) over a note's tokens is
          another; the classes are O and the types.
        - ``type_shares``: the mean of p(class | text) is another.

        Args:
            notes: texts, and what the model says of them.

        Returns:
            Ready for JSON: ``alarm``, whether the smallest p times the number of tests is below
            `LEVEL` (Bonferroni); of the ``tests`` the means of the ``notes`` and of the
            ``reference``, or their ``distance`` (total variation), and ``p``; the ``reference`` and
            the numbers of ``documents``; of the ``types``, and O, the share of the tokens in
            ``training``, ``counted`` (mean p) and ``estimated`` (see `estimate_shares`), which
            holds where notes differ in nothing but how often types occur; and whether that
            ``converged``.

        Raises:
            InputError: the notes hold no word.
        """
        values, tests = self.measure(notes), {}
        if not len(values[UNSEEN]):
            raise InputError("The notes hold no word to compare with those of training.")
        for name, reference in self.values.items():
            new = values[name]
            p = permutation_test(reference, new, rise if name == UNSEEN else distance)
            if name == TYPES:
                tests[name] = {"distance": distance(reference, new), "p": p}
            else:
                means = {"reference": float(reference.mean()), "notes": float(new.mean())}
                tests[name] = {**means, "p": p}
        statistics = self.component.statistics
        prior = statistics.class_counts / statistics.class_counts.sum()
        classes = np.concatenate([of.classes for _, of in notes])
        estimated = estimate_shares(classes, prior)
        rows = zip(prior, classes.mean(axis=0, dtype=np.float64), estimated.shares, strict=True)
        return {
            "alarm": len(tests) * min(of["p"] for of in tests.values()) < LEVEL,
            "tests": tests,
            "reference": self.kind,
            "documents": {"reference": len(self.values[UNSEEN]), "notes": len(notes)},
            "types": {
                label: dict(zip(("training", "counted", "estimated"), map(float, row), strict=True))
                for label, row in zip(("O", *self.component.labels), rows, strict=True)
            },
            "converged": estimated.converged,
        }


def _values(notes: Sequence[tuple[str, Measured]], frequency: Counter[str]) -> _Values:
    """What is tested of notes."""
    classes = [of.classes for _, of in notes]
    return {
        UNSEEN: _column(
            _unseen(_words(text, of.tokens.tolist()), frequency, 1) for text, of in notes
        ),
        UNCERTAINTY: _column(float(1.0 - of.max(axis=1).mean()) for of in classes),
        TYPES: np.array([of.mean(axis=0, dtype=np.float64) for of in classes]),
    }


def _words(text: str, tokens: Iterable[tuple[int, int]]) -> list[str]:
    """The tokens with a letter, in lower case; that a number is new tells nothing."""
    found = (text[start:end].lower() for start, end in tokens)
    return [word for word in found if any(map(str.isalpha, word))]


def _unseen(words: Sequence[str], frequency: Counter[str], least: int) -> float | None:
    """Share of the words that fewer documents hold, None without any word."""
    return sum(frequency[word] < least for word in words) / len(words) if words else None


def _column(values: Iterable[float | None]) -> NDArray[np.float64]:
    """Those that there are. *Shape:* ``(n, 1)``."""
    return np.array([[value] for value in values if value is not None]).reshape(-1, 1)
