"""Log-probabilities of tags that may overlap, by tag and by the problem of each type."""

import numpy as np
import pytest

from clinical_ner.tags.problems import (
    LEAST_OUTSIDE,
    by_type,
    exceeds_one,
    of_problems,
    problem_tags,
    with_outside,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def random_tags(n_types: int, dtype: str = "float64") -> np.ndarray:
    """Log-probabilities of B and I of each type of some tokens, each type by itself."""
    generator = np.random.default_rng(n_types)
    p = generator.dirichlet([2.0, 0.5, 0.5], size=(30, n_types))[:, :, 1:]
    return np.log(p.reshape(30, -1)).astype(dtype)


def test_tags_of_the_problems() -> None:
    assert problem_tags(3).tolist() == [[0, 1, 2], [0, 3, 4], [0, 5, 6]]
    assert problem_tags(0).shape == (0, 3)


@pytest.mark.parametrize("n_types", [0, 1, 4])
def test_outside_is_what_the_types_leave(n_types: int) -> None:
    log_p = random_tags(n_types)
    found = with_outside(log_p)
    np.testing.assert_array_equal(found[:, 1:], log_p)
    for row, outside in zip(np.exp(log_p), np.exp(found[:, 0]), strict=True):
        assert outside == pytest.approx(max(1.0 - sum(row), LEAST_OUTSIDE), rel=1e-9)


@pytest.mark.parametrize("n_types", [0, 1, 4])
def test_a_problem_is_a_type_and_everything_else(n_types: int) -> None:
    log_probs = with_outside(random_tags(n_types))
    found = np.exp(by_type(log_probs))
    assert found.shape == (30, n_types, 3)
    for token, row in enumerate(np.exp(log_probs)):
        for j in range(n_types):
            begin, inside = row[1 + 2 * j], row[2 + 2 * j]
            expected = [1.0 - begin - inside, begin, inside]
            np.testing.assert_allclose(found[token, j], expected, rtol=1e-9)


def test_both_are_inverse_to_each_other() -> None:
    log_probs = with_outside(random_tags(4))
    problems = by_type(log_probs)
    np.testing.assert_allclose(of_problems(problems), log_probs, rtol=1e-9)
    np.testing.assert_allclose(by_type(of_problems(problems)), problems, rtol=1e-9)
    # Where p(O) was raised, too.
    outside = np.exp(log_probs[:, 0])
    assert outside.min() == pytest.approx(LEAST_OUTSIDE) and outside.max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_problems_are_in_double_precision_and_sum_to_1(dtype: str) -> None:
    log_probs = with_outside(random_tags(4)).astype(dtype)
    # Types that are sure, one of them more than it can be.
    log_probs[0, 1:3] = [0.0, -np.inf]
    log_probs[1, 1:3] = np.log([0.6, 0.6])
    found = by_type(log_probs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.exp(found[0, 0]), [LEAST_OUTSIDE, 1.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found[1, 0, 1:]), 0.5, rtol=1e-5)


def test_a_type_of_probability_0_is_all_everything_else() -> None:
    log_probs = with_outside(np.array([[np.log(0.25), np.log(0.5), -np.inf, -np.inf]]))
    np.testing.assert_array_equal(by_type(log_probs)[:, 1], [[0.0, -np.inf, -np.inf]])
    np.testing.assert_allclose(of_problems(by_type(log_probs)), log_probs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_that_contradict_each_other_exceed_1(dtype: str) -> None:
    p = np.array([[0.7, 0.0, 0.3, 0.0], [0.7, 0.0, 0.2, 0.2], [0.6, 0.5, 0.0, 0.0], [0.1] * 4])
    with np.errstate(divide="ignore"):
        log_probs = with_outside(np.log(p)).astype(dtype)
    # A sum of 1 does not, however it is rounded.
    assert exceeds_one(log_probs).tolist() == [False, True, True, False]
    third = np.log(np.full((1, 6), 1 / 6, dtype=dtype)) + np.finfo(dtype).eps
    assert not exceeds_one(np.concatenate((np.zeros((1, 1), dtype), third), axis=1)).any()


def test_no_tokens_are_none() -> None:
    none = np.zeros((0, 5))
    assert by_type(none).shape == (0, 2, 3)
    assert of_problems(by_type(none)).shape == (0, 5)
    assert exceeds_one(none).shape == (0,)
