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
    config = {"loss": {"@losses": f"clinical_ner.{name}.v1", **settings}}
    return registry.resolve(config)["loss"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: WeightedCrossEntropy(weights="papr"), "E030.*papr.*paper"),
        (lambda: WeightedCrossEntropy(weights={"L0": -1.0}), "E032.*L0"),
        (lambda: WeightedCrossEntropy(weights="effective_number", beta=1.0), "E004.*beta"),
        (lambda: Focal(weights="papr"), "E030.*papr"),
        (lambda: LDAM(weights="papr"), "E030.*papr"),
        (lambda: VectorScaling(weights="papr"), "E030.*papr"),
        (lambda: LogitAdjusted(tau=-1), "E004.*tau"),
        (lambda: LogitAdjusted(tau=float("nan")), "E004.*tau"),
        (lambda: VectorScaling(gamma=-0.1), "E004.*gamma"),
        (lambda: VectorScaling(tau=float("inf")), "E004.*tau"),
        (lambda: Focal(gamma=-1), "E004.*gamma"),
        (lambda: LDAM(max_margin=-0.1), "E004.*max_margin"),
        (lambda: LDAM(scale=0.0), "E004.*scale"),
        (lambda: Asymmetric(gamma_positive=-1), "E004.*gamma_positive"),
        (lambda: Asymmetric(gamma_negative=float("nan")), "E004.*gamma_negative"),
        (lambda: Asymmetric(margin=1.0), "E004.*margin"),
        (lambda: SoftDice(smoothing=-1), "E004.*smoothing"),
        (lambda: SoftDice(reduction="classes"), "E035.*SoftDice.*classes.*tokens, documents"),
        (lambda: SoftDice(reduction="weights"), "E035.*SoftDice.*weights"),
        (lambda: SelfAdjustingDice(alpha=-1), "E004.*alpha"),
        (lambda: SelfAdjustingDice(smoothing=0.0), "E004.*smoothing"),
        (lambda: MajorityOrMinority(lam=0.0), "E004.*lam"),
        (lambda: MajorityOrMinority(lam=1.1), "E004.*lam"),
        (lambda: BinaryTokenLabels(weights="inverse"), "E043.*weights.*paper, none.*inverse"),
        (lambda: BinaryTokenLabels(others="O"), "E043.*others.*masked, outside"),
        (lambda: PriorMatching(base=Focal(), strength=-1), "E004.*strength"),
        (lambda: PriorMatching(base=Focal(), momentum=1.0), "E004.*momentum"),
        (lambda: PriorMatching(base=SoftDice()), "E041.*SoftDice"),
        (lambda: PriorMatching(base=Focal(reduction="classes")), "E041.*Focal"),
        (lambda: PriorMatching(base=Asymmetric(margin=0.1)), "E041.*Asymmetric"),
        (lambda: PriorMatching(base=BinaryTokenLabels()), "E042"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ClinicalNerError, match=message):
        make()


@pytest.mark.parametrize("loss_class", CLASSES)
def test_every_loss_refuses_unknown_reductions_and_divisors(loss_class):
    with pytest.raises(ClinicalNerError, match=f"E035.*{loss_class.__name__}.*mean"):
        loss_class(reduction="mean")
    with pytest.raises(ClinicalNerError, match="E004.*tokens_per_batch"):
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


def test_prior_matching_needs_a_base():
    with pytest.raises(ConfigValidationError, match="base"):
        from_config("PriorMatching")


@pytest.mark.parametrize("loss_class", [WeightedCrossEntropy, Focal, LDAM, VectorScaling])
def test_weight_of_a_label_that_the_corpus_lacks_names_close_matches(loss_class):
    loss = loss_class(weights={"L00": 2.0})
    with pytest.raises(ClinicalNerError, match="E031.*L00.*Did you mean L0"):
        loss.initialize(statistics_of(*DOCUMENTS))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_loss_without_statistics_says_so(loss_class):
    with pytest.raises(ClinicalNerError, match=f"E034.*{loss_class.__name__}"):
        loss_class()(np.ones((1, 3)), np.zeros(1, dtype=int))


@pytest.mark.parametrize(
    "loss",
    [
        SoftDice(),
        SelfAdjustingDice(),
        Asymmetric(margin=0.05),
        BinaryTokenLabels(others="outside"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_without_a_way_back_says_so(loss):
    loss.initialize(statistics_of(*DOCUMENTS))
    assert not loss.has_posterior
    with pytest.raises(ClinicalNerError, match=f"E038.*{type(loss).__name__}"):
        loss.posterior_logits(np.ones((1, 5)))
