"""The component ``clinical_ner``: it wires tags, model, loss, decoding and scoring together."""

import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from thinc.api import Config, Model, Optimizer, set_dropout_rate
from thinc.types import Floats2d

from ..arrays import log_softmax
from ..calibration.calibration import Calibration
from ..data.gold import overlapping_gold
from ..decoding.decision import (
    Decision,
    Decoded,
    check_prior_smoothing,
    check_prior_strength,
    check_threshold,
)
from ..decoding.decode import EntityStep, decode_all
from ..decoding.document_lattice import Candidate, DocumentLattice
from ..errors import (
    ClinicalNerError,
    ConfigError,
    NotFittedError,
    check_number,
    close_matches,
    damage_in_one_line,
    no_posterior,
    not_initialized,
    one_tag_per_token,
    shown_label,
)
from ..losses.base import TokenLoss
from ..losses.binary_token_labels import BinaryTokenLabels
from ..neighbours.mixing import Neighbours
from ..scoring.scorers import score_entities
from ..tags.encode import encode_example, encode_overlapping, taggable
from ..tags.scheme import tag_names
from ..tags.soft_targets import soft_labels
from ..tags.statistics import TagStatistics
from ..types import EntityOffsets, LogProbs, TagIds, TagLoss, Transitions
from .annotation import Annotator, ProbabilityAttribute
from .document_access import DocumentAccess, release_inputs
from .finite import check_loss, check_probabilities, check_rows
from .learned_gold import count_tags, sampling_of, soft_targets_of
from .manifest import check_manifest, remove_manifest
from .serialization import (
    DIGESTS,
    add_neighbours,
    check_parts,
    present_settings,
    read_calibration,
    read_cfg,
    read_neighbours,
    warn_that_calibration_is_dropped,
    write_cfg,
    write_neighbours,
)

DEFAULT_CONFIG = Config().from_str(
    """
[clinical_ner]
overlaps = false
learn_rate_factor = 1.0
prior_strength = 1.0
prior_smoothing = 10.0
transitions = null
threshold = 0.0
thresholds = {}
overwrite = false
spans_key = "ner"
probability_attribute = "probability"
keep_transformer_output = false

[clinical_ner.model]
@architectures = "clinical_ner.TokenClassifier.v1"

[clinical_ner.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 4
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true

[clinical_ner.loss]
@losses = "clinical_ner.LogitAdjusted.v1"
tau = 1.0

[clinical_ner.scorer]
@scorers = "clinical_ner.entity_scorer.v1"
"""
)["clinical_ner"]


@Language.factory(
    "clinical_ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights={
        "ents_f": 0.5,
        "ents_macro_f": 0.5,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_per_type": None,
        "token_unweighted_accuracy": 0.0,
        # Not 0: spaCy's log would have two columns with one head, "TOKEN_UNWE...".
        "token_unweighted_accuracy_no_o": None,
        # Only with overlaps.
        "spans_f": None,
        "spans_macro_f": None,
        "spans_p": None,
        "spans_r": None,
    },
)
def make_clinical_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    loss: TagLoss,
    overlaps: bool,
    learn_rate_factor: float,
    prior_strength: float,
    prior_smoothing: float,
    transitions: float | None,
    threshold: float,
    thresholds: dict[str, float],
    overwrite: bool,
    spans_key: str,
    probability_attribute: str,
    keep_transformer_output: bool,
    scorer: Callable | None,
) -> TrainablePipe:
    """Create a named entity recognizer; the settings are those of ``ClinicalNer``."""
    return ClinicalNer(
        nlp,
        model,
        name,
        loss=loss,
        overlaps=overlaps,
        learn_rate_factor=learn_rate_factor,
        prior_strength=prior_strength,
        prior_smoothing=prior_smoothing,
        transitions=transitions,
        threshold=threshold,
        thresholds=thresholds,
        overwrite=overwrite,
        spans_key=spans_key,
        probability_attribute=probability_attribute,
        keep_transformer_output=keep_transformer_output,
        scorer=scorer,
    )


class ClinicalNer(TrainablePipe):
    """Named entity recognizer that keeps the probability apart from the decision.

    The loss may favour rare types in training; its inverse turns the logits back into the empirical
    p(tag | text). Entities are the best legal tag sequence; ``prior_strength`` says how much of
    the prior that choice keeps. With ``overlaps``, that holds for each type by itself.
    """

    def __init__(
        self,
        nlp: Language,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "ner",
        *,
        loss: TagLoss,
        overlaps: bool = False,
        learn_rate_factor: float = 1.0,
        prior_strength: float = 1.0,
        prior_smoothing: float = 10.0,
        transitions: float | None = None,
        threshold: float = 0.0,
        thresholds: Mapping[str, float] = MappingProxyType({}),
        overwrite: bool = False,
        spans_key: str = "ner",
        probability_attribute: str = "probability",
        keep_transformer_output: bool = False,
        scorer: Callable | None = score_entities,
    ) -> None:
        """Create the component.

        Args:
            nlp: the pipeline.
            model: from documents to logits: a chain of two layers, of which the first gives the
                token vectors and is the reference "tok2vec"; "head" is the last linear one. See
                ``build_token_classifier``.
            name: the instance name, the key of its loss in training.
            loss: the training loss and its inverse, which gives the probability.
            overlaps: whether mentions of different types may share tokens. They are learned from
                ``doc.spans["gold_all"]``, not from ``doc.ents``, and all that are found are in the
                group; ``doc.ents`` has the longest of them that do not overlap. It needs the
                loss BinaryTokenLabels with problems = "all", and cannot be changed after training.
            learn_rate_factor: the head learns at this multiple (> 0) of the optimizer's rate.
            prior_strength: s in [0, 1]; 1 decodes the empirical probability, 0 treats all tags
                alike.
            prior_smoothing: pseudo-count a >= 0 of every tag in the prior that s < 1 takes away.
            transitions: weight lambda >= 0 of what training tells of neighbouring tags, see
                ``TagStatistics.pair_information``; 0 for none, None for what calibration fitted.
            threshold: the smallest probability of an entity that is made, 0 for none.
            thresholds: the same by label, in place of the former.
            overwrite: whether entities replace those already in ``doc.ents``; if not, these stay,
                and entities that overlap them are not put there. Its own of an earlier call are
                replaced always.
            spans_key: key of ``doc.spans`` for all entities that it found, with their probabilities
                in ``attrs["scores"]``; where another component of this factory has the key, the
                name of the component is taken.
            probability_attribute: name under which ``span._`` gives the probability of an entity.
            keep_transformer_output: whether ``doc._.trf_data`` stays when the entities are made. If
                not, it is set to None where no other component listens to a transformer: it holds
                hundreds of numbers for each token. What is asked for later makes it again.
            scorer: the scoring function.

        Raises:
            ClinicalNerError: a number outside its range, overlaps with another loss or with
                transitions, prior_strength < 1, transitions or thresholds with a loss that has no
                posterior, or an attribute of ``span._`` that is taken.
        """
        self.vocab = nlp.vocab
        self.model = model
        self.name = name
        self.loss = loss
        self.scorer = scorer
        self.overwrite = overwrite
        self.cfg: dict[str, Any] = {"labels": []}
        self.statistics = TagStatistics()
        self._access = DocumentAccess(nlp)
        self._neighbours: Neighbours | None = None
        self._calibration: Calibration | None = None
        self._updates = 0
        # The other losses compare the types with each other.
        if overlaps and not (isinstance(loss, BinaryTokenLabels) and loss.problems == "all"):
            raise ConfigError(
                f"overlaps = true of component '{name}' needs a loss that learns each type by "
                "itself: set its loss to clinical_ner.BinaryTokenLabels.v2 with problems = "
                '"all", or overlaps = false.'
            )
        self._overlaps = bool(overlaps)
        check_number("learn_rate_factor", learn_rate_factor, above=0)
        self.learn_rate_factor = learn_rate_factor
        self.prior_strength = prior_strength
        self.prior_smoothing = prior_smoothing
        self.transitions = transitions
        self.threshold = threshold
        self.thresholds = thresholds
        ProbabilityAttribute(probability_attribute).register(component=name)
        self.spans_key = spans_key
        self.probability_attribute = probability_attribute
        self.keep_transformer_output = keep_transformer_output
        # What the config said, so that a stored attribute yields to an override at loading only.
        self._configured = present_settings(self)

    @property
    def name(self) -> str:
        """The name of the component in its pipeline, which sets it."""
        name: str = TrainablePipe.name.__get__(self)
        return name

    @name.setter
    def name(self, value: str) -> None:
        TrainablePipe.name.__set__(self, value)
        # A pipeline that takes the component from another one (add_pipe(source=...)) sets the name
        # and hands over nothing of itself. Without this the component would go on asking its former
        # pipeline for token vectors.
        pipeline = sys._getframe(1).f_locals.get("self")
        if isinstance(pipeline, Language):
            self._access = DocumentAccess(pipeline)

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def overlaps(self) -> bool:
        """Whether mentions of different types may share tokens."""
        return self._overlaps

    @property
    def is_initialized(self) -> bool:
        """Whether the tag counts, and with them the size of the head, are known."""
        return self.statistics.total > 0

    @property
    def label_data(self) -> list[str]:
        """The labels, as ``spacy init labels`` writes them."""
        return list(self.labels)

    def add_label(self, label: str) -> int:
        """Add a label before initialization.

        Returns:
            0 if the label is there already, else 1.

        Raises:
            ClinicalNerError: not a usable name, or the component is initialized: the losses need
                the counts of every tag, which a later label has not.
        """
        # Not any whitespace: spaCy's ner learns "Sign or symptom" too.
        if (
            not isinstance(label, str)
            or label != label.strip()
            or len(label.splitlines()) != 1
            or "\t" in label
        ):
            raise ConfigError(
                "A label must be a string on one line, without tabs or whitespace at its edges, "
                f"got '{shown_label(label)}'. Rename it in the data: clinical-ner convert "
                "--label-map."
            )
        if label in self.labels:
            return 0
        if self.is_initialized:
            raise ConfigError(
                f"Component '{self.name}' is already initialized: its labels are fixed, since the "
                "losses need the counts of every tag. Add labels before nlp.initialize()."
            )
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        return 1

    def predict(self, docs: Iterable[Doc]) -> list[LogProbs]:
        """Log-probabilities log p(tag | text) of each document's tokens, calibrated if possible.

        Returns:
            One array per document; with ``overlaps`` they are as ``tags.problems`` says. *Shape of
            each:* ``(len(doc), K)``.

        Raises:
            ClinicalNerError: the component is not initialized.
        """
        docs = list(docs)
        if not self.is_initialized:
            raise not_initialized(self.name)
        if not any(len(doc) for doc in docs):
            return [np.zeros((0, len(self.statistics.counts)), dtype="float32") for _ in docs]
        return self.log_probs(self.token_vectors(docs))

    def token_vectors(self, docs: Sequence[Doc]) -> list[Floats2d]:
        """What the head sees of each document. *Shape of each:* ``(len(doc), width)``.

        Of a document that has lost what the model listens to, or never had it, the components
        before this one make it again on a copy.

        Raises:
            ClinicalNerError: they do not, for instance since they are disabled.
        """
        complete = [self._access.complete(doc, self) for doc in docs]
        return self.model.get_ref("tok2vec").predict(complete)

    def log_probs(self, vectors: list[Floats2d]) -> list[LogProbs]:
        """The chain from token vectors to log p(tag | text), as ``predict`` returns it.

        Args:
            vectors: of each document; see ``token_vectors``.
        """
        ops = self.model.ops
        log_probs = [self._empirical(logits) for logits in self.model.layers[-1].predict(vectors)]
        if self.neighbours is not None:
            # The search is on the CPU.
            mixed = self.neighbours.mix(
                ops.to_numpy(ops.flatten(log_probs)), ops.to_numpy(ops.flatten(vectors))
            )
            lengths = ops.asarray1i([len(rows) for rows in vectors])
            log_probs = ops.unflatten(ops.asarray(mixed), lengths)
        if self.calibration is not None:
            log_probs = [
                self.calibration.tokens.apply(rows) if len(rows) else rows for rows in log_probs
            ]
        return log_probs

    def set_annotations(self, docs: Iterable[Doc], scores: list[LogProbs]) -> None:
        """Decode the log-probabilities of ``predict``; set ``doc.ents`` and ``doc.spans``.

        Then the output of the transformer leaves the documents, unless it is to be kept.

        Raises:
            ClinicalNerError: what should be a probability is no number.
        """
        releases = not self.keep_transformer_output and self._access.listens_alone(self)
        annotator = self.annotator
        docs = list(docs)
        for doc, log_probs in zip(docs, scores, strict=True):
            check_probabilities(doc, log_probs, name=self.name)
        for doc, decoded in zip(docs, self.decode_all(docs, scores), strict=True):
            annotator.annotate(doc, decoded)
            if releases:
                release_inputs(doc)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch: one forward and one backward pass.

        A batch whose logits, loss or gradient are not finite is refused before the backward pass,
        so neither the head nor what it listens to learns from it.

        Args:
            examples: the batch.
            drop: dropout rate.
            sgd: the optimizer, or None to only accumulate gradients.
            losses: record of the losses, to which this batch's is added under the component's name.

        Returns:
            The record of the losses.

        Raises:
            ClinicalNerError: not initialized, a gold label that is unknown, or a number that is not
                finite.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "ClinicalNer.update")
        if not self.is_initialized:
            raise not_initialized(self.name)
        self._updates += 1
        docs = [eg.predicted for eg in examples]
        if not any(len(doc) for doc in docs):
            return losses
        set_dropout_rate(self.model, drop)
        logits, backprop = self.model.begin_update(docs)
        check_rows(docs, logits, what="the logits are", name=self.name, update=self._updates)
        loss, d_logits = self.get_loss(examples, logits)
        check_loss(docs, loss, name=self.name, update=self._updates)
        check_rows(docs, d_logits, what="the gradient is", name=self.name, update=self._updates)
        backprop(d_logits)
        if sgd not in (None, False):
            self.finish_update(sgd)
        losses[self.name] += loss
        return losses

    def gold_spans(self, reference: Doc) -> Sequence[Span]:
        """The spans of a gold document that are learned, and scored against.

        Raises:
            ClinicalNerError: with ``overlaps``, the document does not tell all its mentions.
        """
        return overlapping_gold(reference) if self.overlaps else reference.ents

    def gold_ids(self, example: Example) -> TagIds:
        """Gold tag ids, -1 where masked. *Shape:* ``(n,)``, with ``overlaps`` ``(n, M)``.

        Raises:
            ClinicalNerError: see ``gold_spans``, or gold holds a label that the component lacks.
        """
        index = {label: i for i, label in enumerate(self.labels)}
        if not self.overlaps:
            return encode_example(example, index, name=self.name)
        return encode_overlapping(
            example, self.gold_spans(example.reference), index, name=self.name
        )

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """Loss of a batch and its gradient.

        Gold documents may carry soft targets, which are mixed in (``tags.soft_targets``).

        Args:
            examples: the batch.
            scores: logits of each document. *Shape of each:* ``(len(doc), K)``.

        Returns:
            The loss, and the gradient with respect to the logits, shaped like ``scores``.
        """
        examples = list(examples)
        ops = self.model.ops
        batch = sampling_of(self, examples)
        # Before the loss, which may weigh by what is drawn.
        self.statistics.observe(batch)
        truths = [self.gold_ids(eg) for eg in examples]
        lengths = np.asarray([len(ids) for ids in truths])
        gold = ops.xp.asarray(np.concatenate(truths))
        logits = ops.flatten(scores)
        if (soft := soft_targets_of(self, examples)) is None:
            gradient, loss = self.loss(logits, gold, lengths, batch)
        else:
            assert isinstance(self.loss, TokenLoss)
            gradient, loss = self.loss.mixed(logits, gold, lengths, *soft)
        return loss, ops.unflatten(gradient, ops.asarray1i(lengths.tolist()))

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score predictions against gold with ``scorer``.

        With ``overlaps`` it is also given ``mentions``, which returns all gold spans of an example
        and all that this component found, the most probable first.

        Args:
            examples: predictions and gold.
            kwargs: further settings for the scorer.

        Returns:
            The scores by name.

        Raises:
            ClinicalNerError: with ``overlaps``, a gold document without all its mentions.
        """
        if self.overlaps:
            kwargs["mentions"] = self.mentions
        return super().score(examples, **kwargs)

    def mentions(self, example: Example) -> tuple[Sequence[Span], list[EntityOffsets]]:
        """The gold spans of an example, and all spans found in it, the most probable first."""
        found, _ = self.annotator.found(example.predicted).most_probable_first()
        return self.gold_spans(example.reference), found

    def finish_update(self, sgd: Optimizer) -> None:
        """Apply the gradients; the head's rate is multiplied by ``learn_rate_factor``.

        Neighbours and calibration are dropped, with a warning: they are those of the old weights.
        """
        if self.neighbours is not None:
            warnings.warn(
                f"Component '{self.name}' was updated: its datastore of neighbours is of the old "
                "weights, and is dropped. Build it again with clinical-ner neighbours when "
                "training is done.",
                stacklevel=2,
            )
        if self.calibration is not None:
            warn_that_calibration_is_dropped(self.name, stacklevel=3)
            self.calibration = None
        self._forget_fits()
        head = {node.id for node in self.model.get_ref("head").walk()}
        for node in self.model.walk():
            for shim in node.shims:
                shim.finish_update(sgd)
            scale = self.learn_rate_factor if node.id in head else 1.0
            for name in node.param_names:
                if node.has_grad(name):
                    param, _ = sgd(
                        (node.id, name), node.get_param(name), node.get_grad(name), lr_scale=scale
                    )
                    node.set_param(name, param)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Take labels and tag counts from the training data, then initialize loss and model.

        Args:
            get_examples: gives the whole training data; a sample would make the prior that of the
                sample.
            nlp: the pipeline.
            labels: the entity types; by default those that were added and those of the data,
                sorted.

        Raises:
            ClinicalNerError: no entity in the data, a label that ``labels`` lacks, a model that was
                built for another number of tags, or, with ``overlaps``, a document without all its
                mentions.
        """
        validate_get_examples(get_examples, "ClinicalNer.initialize")
        self.calibration = None
        self._forget_fits()
        self._updates = 0
        self.statistics.update_from_dict(TagStatistics().to_dict())
        if labels is not None:
            self.cfg["labels"] = []
            names: Iterable[str] = labels
        else:
            found: set[str] = set()
            for example in get_examples():
                found.update(span.label_ for span in self.gold_spans(example.reference))
                found.update(soft_labels(example.reference))
            names = sorted(found)
        for label in names:
            self.add_label(label)
        # Checked again, since only now the labels are known.
        self.thresholds = self.thresholds
        self._check_head()
        try:
            count_tags(self, get_examples)
            self.loss.initialize(self.statistics)
        except ClinicalNerError:
            # Whoever catches it must not find a component that passes for an initialized one.
            self.statistics.update_from_dict(TagStatistics().to_dict())
            raise
        self.model.get_ref("head").set_dim("nO", len(self.statistics.counts))
        sample = islice((eg.predicted for eg in get_examples() if len(eg.predicted)), 10)
        self.model.initialize(X=list(sample))

    @property
    def decision(self) -> Decision:
        """The present decision."""
        return self.decision_under(self.calibration.transitions if self.calibration else 0.0)

    def decision_under(
        self, transitions: float, information: Transitions | None = None
    ) -> Decision:
        """The decision that the component would have if this were the fitted weight.

        Args:
            transitions: the weight.
            information: what it weighs, in place of that of the training documents; see
                ``TagStatistics.pair_information``. *Shape:* ``(K, K)``.
        """
        prior = self.statistics.smoothed_prior(self.prior_smoothing)
        of_all = dict.fromkeys(self.labels, self.threshold) if self.threshold else {}
        weight = transitions if self.transitions is None else self.transitions
        weighed = None
        if weight:
            pairs = self.statistics.pair_information() if information is None else information
            weighed = weight * pairs
        return Decision(
            *(self.prior_strength, {**of_all, **self.thresholds}, prior, self.overlaps),
            transitions=weighed,
        )

    @property
    def annotator(self) -> Annotator:
        """What writes its entities to documents, under the present settings."""
        labels = "\n".join(self.labels).encode("utf8")
        return Annotator(
            # The labels too: components of two pipelines often have one name.
            owner=f"{self.name}:{zlib.crc32(labels):08x}",
            name=self.name,
            spans_key=self.spans_key,
            attribute=self.probability_attribute,
            overwrite=self.overwrite,
            # A temperature alone leaves entities too sure, which were chosen for being probable.
            calibrated=self.entity_step is not None,
        )

    @property
    def entity_step(self) -> EntityStep | None:
        """What the calibration does to the probabilities of entities, None where nothing."""
        if self.calibration is None or self.calibration.entities is None:
            return None
        return self.calibration.entities.apply

    def decode_all(self, docs: Sequence[Doc], log_probs: Sequence[LogProbs]) -> Iterator[Decoded]:
        """Entities of documents under the present decision, and their probabilities.

        Args:
            docs: the documents.
            log_probs: what ``predict`` gave for them. *Shape of each:* ``(len(doc), K)``.

        Yields:
            One after the other; those of the next ones are computed together.
        """
        return decode_all(
            [self.model.ops.to_numpy(rows) for rows in log_probs],
            [taggable(doc) for doc in docs],
            self.labels,
            self.decision,
            entity_step=self.entity_step,
            scored=self.loss.has_posterior,
        )

    @property
    def prior_strength(self) -> float:
        """How much of the empirical prior decoding keeps, in [0, 1]; changes no probability."""
        return self._prior_strength

    @prior_strength.setter
    def prior_strength(self, value: float) -> None:
        value = check_prior_strength(value)
        if value != 1.0 and not self.loss.has_posterior:
            raise ConfigError(
                f"Loss '{type(self.loss).__name__}' does not lead back to the empirical "
                "probability, so prior_strength must be 1."
            )
        self._prior_strength = value

    @property
    def prior_smoothing(self) -> float:
        """Pseudo-count of every tag in the prior that a prior_strength below 1 takes away."""
        return self._prior_smoothing

    @prior_smoothing.setter
    def prior_smoothing(self, value: float) -> None:
        self._prior_smoothing = check_prior_smoothing(value)

    @property
    def transitions(self) -> float | None:
        """Weight of what training tells of neighbouring tags; None for what calibration fitted.

        It is in the probability of every span, but in none of ``predict``.
        """
        return self._transitions

    @transitions.setter
    def transitions(self, value: float | None) -> None:
        if value is not None:
            check_number("transitions", value, least=0)
        if value and self.overlaps:
            raise ConfigError(
                f"Component '{self.name}' has overlaps = true, where a token may have several tags "
                "and so has no one tag before it: set its transitions to null or 0."
            )
        if value and not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        if value and self.is_initialized:
            self.statistics.pair_information()
        self._transitions = None if value is None else float(value)
        self._access.forget()

    @property
    def threshold(self) -> float:
        """Smallest probability of an entity that is made, of labels not in ``thresholds``."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        check_number("threshold", value, least=0, most=1)
        if value and not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        self._threshold = float(value)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Smallest probability, by label, of an entity that is made; changes no probability.

        A label without one has ``threshold``. To change them, set this to another mapping.
        """
        return MappingProxyType(self._thresholds)

    @thresholds.setter
    def thresholds(self, value: Mapping[str, float]) -> None:
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"thresholds must be a table by label, such as {{'Drug': 0.9}}, got {value!r}; for "
                "all labels set threshold."
            )
        checked = {label: check_threshold(label, number) for label, number in value.items()}
        if checked and not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        # Before initialization, or loading, the labels are not known yet.
        for label in checked if self.labels else ():
            self._check_label(label)
        self._thresholds = checked

    @property
    def neighbours(self) -> Neighbours | None:
        """Training tokens whose tags are mixed into every probability, or None.

        They belong to the weights that made their vectors: ``initialize``, every update and loading
        drop them. Nothing is noticed where only another component is trained, to whose vectors
        this one listens: then set this to None.

        A calibration is that of the probabilities without, or with, neighbours; setting this to
        others drops it, with a warning.

        Raises:
            ClinicalNerError: set with ``overlaps``, with a loss that has no posterior to mix with,
                or to a datastore of other tags or of vectors of another width.
        """
        return self._neighbours

    @neighbours.setter
    def neighbours(self, value: Neighbours | None) -> None:
        if value is not None:
            if self.overlaps:
                raise one_tag_per_token(self.name)
            if not self.loss.has_posterior:
                raise ConfigError(
                    f"Loss '{type(self.loss).__name__}' does not lead back to the empirical "
                    f"probability, so component '{self.name}' has none to mix with that of the "
                    "neighbours: train with a loss, and a reduction, that does."
                )
            width = self.model.get_ref("head").maybe_get_dim("nI")
            expected = f"{len(tag_names(self.cfg['labels']))} tags, vectors of {width}"
            found = f"{value.datastore.n_tags} tags, vectors of {value.datastore.width}"
            if found != expected:
                raise NotFittedError(
                    f"The datastore of component '{self.name}' was built for another model "
                    f"({found}, expected {expected}): build it again with clinical-ner neighbours."
                )
        if value is not self._neighbours and self.calibration is not None:
            self.calibration = None
            warn_that_calibration_is_dropped(self.name, stacklevel=3)
        self._neighbours = value
        self._access.forget()

    @property
    def calibration(self) -> Calibration | None:
        """The last step to every probability, fitted on held-out documents, or None.

        It belongs to the weights that it was fitted for; see ``neighbours``.

        Raises:
            ClinicalNerError: set with a loss that has no posterior to calibrate, or to one of other
                tags.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, value: Calibration | None) -> None:
        if value is not None:
            if not self.loss.has_posterior:
                raise no_posterior(type(self.loss).__name__)
            found, expected = len(value.tokens.bias), len(tag_names(self.labels))
            if found != expected:
                raise NotFittedError(
                    f"The calibration of component '{self.name}' was fitted for {found} tags, but "
                    f"it has {expected}: run clinical-ner calibrate on this pipeline."
                )
            if value.tokens.overlaps != self.overlaps:
                raise NotFittedError(
                    f"The calibration of component '{self.name}' was not fitted for overlaps = "
                    f"{str(self.overlaps).lower()}: run clinical-ner calibrate on this pipeline."
                )
            if value.transitions:
                self.statistics.pair_information()
        if value is None:
            self._access.drop_meta("calibration", self.name)
        self._calibration = value
        self._access.forget()

    def span_probability(self, doc: Doc, start: int, end: int, label: str) -> float:
        """P(exactly this span is an entity with this label | text), of the lattice.

        It is exact under the tokens' probabilities, whichever span is asked for. What an entity
        shows as its probability has, in a calibrated pipeline, another step behind it: that of the
        entities, which are chosen for being probable.

        Args:
            doc: any document; where it does not hold what the model needs, as after a round trip
                through bytes, the components before this one run on its tokens again.
            start: first token and one past the last.
            end: see `start`.
            label: the entity type.

        Returns:
            0 for a span that begins or ends with whitespace, which no entity does.

        Raises:
            ClinicalNerError: no such span or label, the loss has no posterior, or the document can
                not be run again.
        """
        if not 0 <= start < end <= len(doc):
            raise ConfigError(
                f"Tokens {start} to {end} are not a span of a document of {len(doc)} tokens."
            )
        self._check_label(label)
        return self._lattice_of(doc).probability(start, end, label)

    def candidates(self, doc: Doc, min_probability: float = 0.05) -> list[Candidate]:
        """Every span with at least this probability, whether it was made an entity or not.

        Spans of the list may overlap; the probabilities of those that share a token, with
        ``overlaps`` of those of one label, sum to at most 1. See ``span_probability`` for what they
        are, and for documents.

        Args:
            doc: the document.
            min_probability: in (0, 1].

        Returns:
            In the order of their starts, at one start by label, then by end.

        Raises:
            ClinicalNerError: see ``span_probability``, or min_probability out of range.
        """
        check_number("min_probability", min_probability, above=0, most=1)
        return self._lattice_of(doc).candidates(min_probability)

    def _lattice_of(self, doc: Doc) -> DocumentLattice:
        if not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        lattice = self._access.lattice(doc)
        if lattice is None:
            (log_probs,) = self.predict([self._access.complete(doc, self)])
            on_cpu = self.model.ops.to_numpy(log_probs)
            lattice = DocumentLattice.of(
                taggable(doc), on_cpu, self.labels, self.overlaps, self.decision.transitions
            )
            self._access.keep(doc, lattice)
        return lattice

    def _empirical(self, logits: Floats2d) -> LogProbs:
        """Undo what the loss and the sampling did. *Shape:* ``(n, K)``."""
        if len(logits) == 0:
            return logits
        xp = self.model.ops.xp
        if not self.loss.has_posterior:
            possible = logits.copy()
            possible[:, xp.asarray(~self.statistics.seen)] = -np.inf
            return log_softmax(possible)
        if self.overlaps:
            # Each type's are normalised by themselves.
            return self.loss.posterior_logits(logits)
        log_probs = log_softmax(self.loss.posterior_logits(logits))
        shares = self.loss.training_odds()
        if shares is None:
            return log_probs
        shift = self.statistics.sampling_shift(shares)
        return log_softmax(log_probs + xp.asarray(shift, dtype=log_probs.dtype))

    def to_bytes(self, *, exclude: Sequence[str] = ()) -> bytes:
        """Serialize the component, with all that decoding needs.

        Args:
            exclude: names of what is left out: cfg, vocab, model, neighbours.
        """
        write_cfg(self, self._configured, exclude=exclude)
        return add_neighbours(super().to_bytes(exclude=exclude), self.neighbours, exclude=exclude)

    def from_bytes(self, bytes_data: bytes, *, exclude: Sequence[str] = ()) -> "ClinicalNer":
        """Load the component from bytes.

        Args:
            bytes_data: what ``to_bytes`` gave.
            exclude: names of what is not read; see ``to_bytes``. Neighbours that the component has
                are dropped all the same: they belong to the weights that are replaced.

        Raises:
            ClinicalNerError: it is damaged, or its parts were not saved together.
        """
        self._forget_fits()
        with damage_in_one_line(f"Component '{self.name}'"):
            super().from_bytes(bytes_data, exclude=exclude)
            self._read(bytes_data, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Sequence[str] = ()) -> None:
        """Serialize the component to a folder, with all that decoding needs.

        Args:
            path: the folder. Checksums in the one that it is in, a pipeline's, are removed.
            exclude: see ``to_bytes``.
        """
        remove_manifest(Path(path).parent)
        write_cfg(self, self._configured, exclude=exclude)
        super().to_disk(path, exclude=exclude)
        write_neighbours(path, self.neighbours, exclude=exclude)

    def from_disk(self, path: str | Path, *, exclude: Sequence[str] = ()) -> "ClinicalNer":
        """Load the component from a folder.

        Args:
            path: the folder. The checksums of the pipeline that it is in are compared.
            exclude: see ``from_bytes``.

        Raises:
            ClinicalNerError: a file of the pipeline is not what was written; see ``from_bytes``.
        """
        self._forget_fits()
        with damage_in_one_line(f"Component '{self.name}'"):
            verified = check_manifest(Path(path).parent)
            super().from_disk(path, exclude=exclude)
            self._read(path, exclude, known=["model"] if verified else [])
        return self

    def encoders(self) -> list[tuple[str, Any]]:
        """Components before this one that it may listen to, with their names."""
        return self._access.encoders(self)

    def _read(
        self, source: bytes | str | Path, exclude: Sequence[str], known: Sequence[str] = ()
    ) -> None:
        read_neighbours(self, source, exclude=exclude)
        check_parts(self, exclude=[*exclude, *known])
        read_cfg(self, self._configured)
        self._check_head()
        read_calibration(self)

    def _forget_fits(self) -> None:
        """Drop all that belongs to weights which are about to change."""
        self.cfg.pop(DIGESTS, None)
        self._calibration = None
        self._neighbours = None
        self._access.forget()

    def _check_label(self, label: str) -> None:
        if label not in self.labels:
            hint = close_matches(label, self.labels)
            raise ConfigError(
                f"Component '{self.name}' has no label '{shown_label(label)}'. {hint}"
            )

    def _check_head(self) -> None:
        head = self.model.get_ref("head")
        expected = len(tag_names(self.labels))
        if head.has_dim("nO") and head.get_dim("nO") != expected:
            raise ConfigError(
                f"Component '{self.name}' was built for {head.get_dim('nO')} tags, but its labels "
                f"ask for {expected}: leave nO of the model unset, and start from a new pipeline "
                "to train with other labels."
            )
