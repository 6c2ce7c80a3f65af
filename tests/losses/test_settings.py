"""Settings: what is refused, and with which message; losses from a config."""

import numpy as np
import pytest
from confection import ConfigValidationError
from thinc.api import registry

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.asymmetric import Asymmetric
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.focal import Focal
from clinical_ner.losses.ldam import LDAM
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.losses.majority_or_minority import MajorityOrMinority
from clinical_ner.losses.prior_matching import PriorMatching
from clinical_ner.losses.self_adjusting_dice import SelfAdjustingDice
from clinical_ner.losses.soft_dice import SoftDice
from clinical_ner.losses.vector_scaling import VectorScaling

from .examples import DOCUMENTS, statistics_of

CLASSES = (
    *(WeightedCrossEntropy, LogitAdjusted, VectorScaling, Focal, LDAM, Asymmetric, SoftDice),
    *(SelfAdjustingDice, MajorityOrMinority, BinaryTokenLabels),
)


def from_config(name, **settings):
    version = "v2" if name == "BinaryTokenLabels" else "v1"
    config = {"loss": {"@losses": f"clinical_ner.{name}.{version}", **settings}}
    return registry.resolve(config)["loss"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: WeightedCrossEntropy(weights="papr"), "Unknown weight scheme 'papr'.*paper"),
        (
            lambda: WeightedCrossEntropy(weights={"L0": -1.0}),
            "L0.*' must be a positive finite number, got",
        ),
        (
            lambda: WeightedCrossEntropy(weights="effective_number", beta=1.0),
            "beta must be a number",
        ),
        (lambda: Focal(weights="papr"), "Unknown weight scheme 'papr'"),
        (lambda: LDAM(weights="papr"), "Unknown weight scheme 'papr'"),
        (lambda: VectorScaling(weights="papr"), "Unknown weight scheme 'papr'"),
        (lambda: LogitAdjusted(tau=-1), "tau must be a number"),
        (lambda: LogitAdjusted(tau=float("nan")), "tau must be a number"),
        (lambda: VectorScaling(gamma=-0.1), "gamma must be a number"),
        (lambda: VectorScaling(tau=float("inf")), "tau must be a number"),
        (lambda: Focal(gamma=-1), "gamma must be a number"),
        (lambda: LDAM(max_margin=-0.1), "max_margin must be a number"),
        (lambda: LDAM(scale=0.0), "scale must be a number"),
        (lambda: Asymmetric(gamma_positive=-1), "gamma_positive must be a number"),
        (lambda: Asymmetric(gamma_negative=float("nan")), "gamma_negative must be a number"),
        (lambda: Asymmetric(margin=1.0), "margin must be a number"),
        (lambda: SoftDice(smoothing=-1), "smoothing must be a number"),
        (
            lambda: SoftDice(reduction="classes"),
            "SoftDice.*' cannot have the reduction '.*classes.*tokens, documents",
        ),
        (lambda: SoftDice(reduction="weights"), "SoftDice.*' cannot have the reduction '.*weights"),
        (lambda: SelfAdjustingDice(alpha=-1), "alpha must be a number"),
        (lambda: SelfAdjustingDice(smoothing=0.0), "smoothing must be a number"),
        (lambda: MajorityOrMinority(lam=0.0), "lam must be a number"),
        (lambda: MajorityOrMinority(lam=1.1), "lam must be a number"),
        (
            lambda: BinaryTokenLabels(weights="inverse"),
            "weights must be one of paper, none, power, got 'inverse'",
        ),
        (
            lambda: BinaryTokenLabels(problems="each"),
            "problems must be one of all, batch, got 'each'",
        ),
        (lambda: BinaryTokenLabels(weights="power"), "BTL has a power with weights = .*set both"),
        (lambda: BinaryTokenLabels(power=0.5), "BTL has a power with weights = .*or neither"),
        (lambda: BinaryTokenLabels(weights="power", power=1.1), "power must be a number"),
        (lambda: BinaryTokenLabels(weights="power", power=-0.1), "power must be a number"),
        (
            lambda: BinaryTokenLabels(reduction="classes"),
            "BinaryTokenLabels' cannot have the reduction 'classes'.*tokens, documents",
        ),
        (lambda: PriorMatching(base=Focal(), strength=-1), "strength must be a number"),
        (lambda: PriorMatching(base=Focal(), momentum=1.0), "momentum must be a number"),
        (
            lambda: PriorMatching(base=SoftDice()),
            "Prior matching needs a base that is a sum over tokens.*'SoftDice' is not",
        ),
        (
            lambda: PriorMatching(base=Focal(reduction="classes")),
            "Prior matching needs a loss that leads back.*Focal",
        ),
        (
            lambda: PriorMatching(base=Asymmetric(margin=0.1)),
            "Prior matching needs a loss that leads back.*Asymmetric",
        ),
        (
            lambda: PriorMatching(base=BinaryTokenLabels()),
            "Prior matching needs a base that is.*over all tags, which 'BinaryTokenLabels' is not",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ClinicalNerError, match=message):
        make()


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_refuses_unknown_reductions_and_divisors(loss_class):
    with pytest.raises(
        ClinicalNerError, match=f"'{loss_class.__name__}' cannot have the reduction 'mean'"
    ):
        loss_class(reduction="mean")
    with pytest.raises(ClinicalNerError, match="tokens_per_batch must be a number"):
        loss_class(tokens_per_batch=0.0)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_refuses_unknown_settings_in_the_config(loss_class):
    with pytest.raises(ConfigValidationError, match="gama"):
        from_config(loss_class.__name__, gama=2.0)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_is_made_from_a_config(loss_class):
    loss = from_config(loss_class.__name__, reduction="documents", tokens_per_batch=100)
    assert type(loss) is loss_class
    assert (loss.reduction, loss.tokens_per_batch) == ("documents", 100.0)


def test_a_weight_table_stands_in_the_config():
    assert from_config("Focal", weights={"Mass": 3.0}).weights == {"Mass": 3.0}


def test_prior_matching_takes_its_base_from_a_nested_block():
    base = {"@losses": "clinical_ner.Focal.v1", "gamma": 1.5, "reduction": "documents"}
    loss = from_config("PriorMatching", base=base, strength=0.3)
    assert isinstance(loss.base, Focal)
    assert (loss.base.gamma, loss.reduction, loss.strength) == (1.5, "documents", 0.3)


def test_binary_token_labels_take_their_settings_from_a_config():
    loss = from_config("BinaryTokenLabels", problems="batch", weights="power", power=0.5)
    assert (loss.problems, loss.weights, loss.power) == ("batch", "power", 0.5)


def test_prior_matching_needs_a_base():
    with pytest.raises(ConfigValidationError, match="base"):
        from_config("PriorMatching")


@pytest.mark.parametrize("loss_class", [WeightedCrossEntropy, Focal, LDAM, VectorScaling])
def test_weight_of_a_label_that_the_corpus_lacks_names_close_matches(loss_class):
    loss = loss_class(weights={"L00": 2.0})
    with pytest.raises(ClinicalNerError, match="L00.*', which the corpus lacks.*Did you mean L0"):
        loss.initialize(statistics_of(*DOCUMENTS))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_loss_without_statistics_says_so(loss_class):
    with pytest.raises(
        ClinicalNerError,
        match=f"{loss_class.__name__}.*was not initialized with tag statistics",
    ):
        loss_class()(np.ones((1, 3)), np.zeros(1, dtype=int))


@pytest.mark.parametrize(
    "loss",
    [SoftDice(), SelfAdjustingDice(), Asymmetric(margin=0.05)],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_without_a_way_back_says_so(loss):
    loss.initialize(statistics_of(*DOCUMENTS))
    assert not loss.has_posterior
    with pytest.raises(
        ClinicalNerError,
        match=f"{type(loss).__name__}.*choose another loss, or settings that keep",
    ):
        loss.posterior_logits(np.ones((1, 5)))
