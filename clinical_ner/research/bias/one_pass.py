"""Training on one pass over texts: nothing is seen twice, so that nothing can be memorised.

With many types one pass is too short, and the head alone goes on over the same texts.

A pipeline of an encoder and the component ``clinical_ner`` learns with a loop of its own, which is
as short as an experiment's is to be: no evaluation, no choice of a best model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.batchers import minibatch_by_words
from spacy.util import minibatch, registry
from thinc.api import Adam, Optimizer, fix_random_seed

from ...model.encoder import restore_encoder_names, use_installed_encoders
from ...pipeline.recognizer import ClinicalNer
from .loss_choices import LossChoice
from .randomised import RandomisedData

#: Name of the component in the pipeline.
RECOGNIZER = "ner"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
#: Windows that hold a text whole.
WINDOWS = {"max_wordpieces": 254, "context": 32, "training_context": 0, "max_batch_items": 4096}
NO_LIMIT = 10**9
#: About as many words are in a batch.
WORDS_PER_BATCH = 200
TOLERANCE = 0.2
#: Documents in a batch of prediction.
PREDICTED = 20
#: Highest rate of the encoder, and the head's multiple of it. Plain cross-entropy has the longest
#: way, from equal shares to the prior: at these rates it arrives within two thirds of 24,000 words,
#: and the rest averages. Tried: at 3e-5 it overshoots (0.6 of a share of 1 % half-way) and then
#: follows the latest mentions; with a fifth fewer words it ends 10 % short.
LEARN_RATE = 2e-5
LEARN_RATE_FACTOR = 20.0
#: Share of the words during which the rate rises.
WARMUP = 0.05
#: Passes of the head alone over the texts of a corpus, and its highest rate. Inverse weights have
#: further to go there than between two tags: both tags of a type share a weight, so that the head
#: starts where mentions have 1.35 of their mass, and one pass left 1.33. Tried, with a linear model
#: in place of this training: 10 passes at 2e-3 end at 1.02 (1.25 after one); ten times the rate for
#: one pass, larger batches, a mean of the weights, no decay of the rate or another second moment in
#: Adam do not get there.
HEAD_PASSES = 10
HEAD_RATE = 2e-3
#: No dropout, under the names that families of encoders have for it. Nothing is seen twice, so it
#: would prevent nothing; and it hides the prior: a loss is calibrated under the noise, under which
#: the mean of a rare tag's exp(z) is larger than without. Tried: plain cross-entropy gave a tag of
#: 1 % 0.97 of its share in training, and 0.78 of it in prediction.
NO_DROPOUT = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}

#: Adds an encoder to an empty pipeline and gives the config of ``components.ner.model.tok2vec``.
AddEncoder = Callable[[Language], dict[str, Any]]
#: Told after every batch how many words it had.
Progress = Callable[[int], None]


def transformer(name: str) -> AddEncoder:
    """A pretrained transformer, with the listener of the recipe minilm.cfg.

    Args:
        name: public name or folder of the encoder.
    """

    def add(nlp: Language) -> dict[str, Any]:
        nlp.add_pipe(
            "transformer",
            config={
                "max_batch_items": NO_LIMIT,
                "set_extra_annotations": {
                    "@annotation_setters": "spacy-transformers.null_annotation_setter.v1"
                },
                "model": {
                    "@architectures": "clinical_ner.WindowedTransformer.v1",
                    "name": name,
                    **WINDOWS,
                    "mixed_precision": False,
                    "tokenizer_config": {"use_fast": True},
                    "transformer_config": dict(NO_DROPOUT),
                    "grad_scaler_config": {},
                },
            },
        )
        return {
            "@architectures": "spacy-transformers.TransformerListener.v1",
            "grad_factor": 1.0,
            "upstream": "*",
            "pooling": {"@layers": "reduce_mean.v1"},
        }

    return add


def train_one_pass(
    data: RandomisedData,
    choice: LossChoice,
    *,
    add_encoder: AddEncoder,
    seed: int,
    learn_rate: float = LEARN_RATE,
    learn_rate_factor: float = LEARN_RATE_FACTOR,
    head_passes: int = 0,
    progress: Progress | None = None,
) -> Language:
    """Build a pipeline and train it on as many words as the training texts have.

    Args:
        data: the texts; only those for training are used.
        choice: the loss, and whether batches are drawn per entity type.
        add_encoder: see ``transformer``.
        seed: of weights, order and drawing.
        learn_rate: the encoder's highest rate; see ``rate_at``.
        learn_rate_factor: the head's multiple of it.
        head_passes: then the head alone learns on, for so many passes, at up to ``HEAD_RATE``. They
            take seconds, since the encoder runs once.
        progress: told after every batch how many words it had.

    Returns:
        The trained pipeline.

    Raises:
        ClinicalNerError: the encoder cannot be loaded, or the loss does not fit the data.
    """
    fix_random_seed(seed)
    nlp = spacy.blank("en")
    tok2vec = add_encoder(nlp)
    config: dict[str, Any] = {
        "learn_rate_factor": learn_rate_factor,
        "overlaps": data.overlaps,
        "loss": choice.config(tokens_per_batch=WORDS_PER_BATCH),
        "model": {"@architectures": "clinical_ner.TokenClassifier.v1", "tok2vec": tok2vec},
    }
    nlp.add_pipe("clinical_ner", name=RECOGNIZER, config=config)
    use_installed_encoders(nlp)
    examples = [
        Example(text.to_plain_doc(nlp.vocab), text.to_doc(nlp.vocab)) for text in data.train
    ]
    nlp.initialize(lambda: examples)
    restore_encoder_names(nlp)
    optimizer = _optimizer(learn_rate)
    done = 0
    for batch in _batches(examples, choice, seed=seed):
        words = sum(len(example.reference) for example in batch)
        # The rate in the middle of the batch, so that even the last one teaches something.
        optimizer.learn_rate = learn_rate * rate_at((done + words / 2) / data.words)
        nlp.update(batch, sgd=optimizer, drop=0.0)
        done += words
        if progress is not None:
            progress(words)
    if head_passes:
        _train_head(nlp, examples, choice, passes=head_passes, words=data.words, seed=seed)
    return nlp


def _optimizer(learn_rate: float) -> Optimizer:
    # No clipping: it shortens just the batches that hold many tokens of a heavy weight, so that the
    # optimum is no longer that of the loss.
    return Adam(learn_rate, L2=0.01, grad_clip=0.0, use_averages=False)


def _train_head(
    nlp: Language,
    examples: Sequence[Example],
    choice: LossChoice,
    *,
    passes: int,
    words: int,
    seed: int,
) -> None:
    """Train the head on token vectors that stay as they are."""
    component = recognizer(nlp)
    head = component.model.layers[-1]
    docs = encode(nlp, (example.predicted for example in examples))
    rows = (vectors for batch in docs for vectors in component.token_vectors(batch))
    of_gold = {id(eg.reference): vectors for eg, vectors in zip(examples, rows, strict=True)}
    optimizer = _optimizer(HEAD_RATE)
    done = 0
    for number in range(1, passes + 1):
        for batch in _batches(examples, choice, seed=seed + number):
            learned = sum(len(example.reference) for example in batch)
            optimizer.learn_rate = HEAD_RATE * rate_at((done + learned / 2) / (passes * words))
            logits, backprop = head.begin_update([of_gold[id(eg.reference)] for eg in batch])
            backprop(component.get_loss(batch, logits)[1])
            # Not the component's, under which what listens to an encoder, or is one, would decay.
            head.finish_update(optimizer)
            done += learned


def rate_at(passed: float) -> float:
    """Share of the highest rate: a linear rise during ``WARMUP``, then a linear fall to 0.

    Args:
        passed: share of the words that were learned from; beyond 1 the rate stays 0.
    """
    return max(0.0, min(passed / WARMUP, (1.0 - passed) / (1.0 - WARMUP)))


def _batches(
    examples: Sequence[Example], choice: LossChoice, *, seed: int
) -> Iterable[list[Example]]:
    """Batches for one pass."""
    if choice.by_entity:
        make = registry.batchers.get("clinical_ner.batch_by_entity.v1")
        return make(size=WORDS_PER_BATCH, tolerance=TOLERANCE, rates="uniform", seed=seed)(examples)
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)
    return minibatch_by_words(
        shuffled,
        WORDS_PER_BATCH,
        tolerance=TOLERANCE,
        get_length=lambda example: len(example.reference),
    )


def recognizer(nlp: Language) -> ClinicalNer:
    """The component under test."""
    component = nlp.get_pipe(RECOGNIZER)
    assert isinstance(component, ClinicalNer)
    return component


def encode(nlp: Language, docs: Iterable[Doc]) -> Iterator[list[Doc]]:
    """Documents in batches, after all components before the recognizer."""
    return minibatch(nlp.pipe(docs, batch_size=PREDICTED, disable=[RECOGNIZER]), PREDICTED)
