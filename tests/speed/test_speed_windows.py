"""The encoder alone, and what windows cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clinical_ner.model.windows.windowed_output import HIDDEN
from clinical_ner.research.speed.speed_variants import Sources, Variants
from clinical_ner.research.speed.speed_windows import WindowCounts, bare_forward, encoder_batches

from .speed_examples import TEXTS, write_model


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Variants:
    return Variants(Sources(str(write_model(tmp_path_factory.mktemp("speed")))))


def test_batches_hold_what_is_counted(variants: Variants) -> None:
    batches, counts = encoder_batches(variants.nlp, variants.transformer, TEXTS)
    places = sum(batch["input_ids"].numel() for batch in batches)
    shown = sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert shown == counts.wordpieces + counts.repeated + counts.special
    assert places == shown + counts.padding
    assert counts.wordpieces == 53
    assert counts.special == 2 * counts.windows
    assert sum(len(batch["input_ids"]) for batch in batches) == counts.windows


def test_each_inner_cut_repeats_the_context_on_both_sides(variants: Variants) -> None:
    _, counts = encoder_batches(variants.nlp, variants.transformer, TEXTS)
    # Of two notes with text, one is cut; a context of two wordpieces.
    assert counts.repeated == 4 * (counts.windows - 2)


def test_without_context_nothing_is_repeated(variants: Variants) -> None:
    _, counts = encoder_batches(variants.nlp, variants.transformer, TEXTS, context=0)
    assert counts.repeated == 0
    assert counts.wordpieces == 53


def test_shares_follow_from_the_numbers() -> None:
    told = WindowCounts(windows=3, wordpieces=40, repeated=10, special=6, padding=8).to_dict()
    assert (told["overlap"], told["padding_share"]) == (0.25, 0.125)
    assert told["windows"] == 3


def test_the_encoder_computes_what_the_pipeline_does(variants: Variants) -> None:
    model, text = variants.transformer, "cough and fever"
    batches, _ = encoder_batches(variants.nlp, model, [text])
    seen = []
    hook = model.transformer.register_forward_hook(lambda *args: seen.append(args[2][0]))
    try:
        bare_forward(model, batches)()
    finally:
        hook.remove()
    assert len(seen) == 1 and seen[0].is_inference()
    expected = model.predict([variants.nlp.make_doc(text)]).doc_data[0].model_output[HIDDEN][0]
    np.testing.assert_allclose(seen[0][0, 1:-1].numpy(), expected, atol=1e-5)


def test_token_types_go_to_an_encoder_that_takes_them(variants: Variants) -> None:
    batches, _ = encoder_batches(variants.nlp, variants.transformer, TEXTS)
    assert all(torch.equal(b["token_type_ids"], 0 * b["input_ids"]) for b in batches)


def test_side_by_side_the_same_windows_are_computed_in_smaller_calls(variants: Variants) -> None:
    model, texts = variants.transformer, TEXTS * 3
    before = torch.get_num_threads()
    torch.set_num_threads(64)
    seen: list[int] = []
    hook = model.transformer.register_forward_hook(lambda *args: seen.append(len(args[2][0])))
    try:
        batches, counts = encoder_batches(variants.nlp, model, texts, small=True)
        large, same = encoder_batches(variants.nlp, model, texts)
        bare_forward(model, batches, at_a_time=True)()
    finally:
        hook.remove()
        torch.set_num_threads(before)
    assert sorted(seen) == sorted(len(batch["input_ids"]) for batch in batches)
    assert sum(seen) == counts.windows == same.windows
    assert len(batches) > len(large)
    # Fewer wordpieces for each of so many threads than one window has.
    assert {len(batch["input_ids"]) for batch in batches} == {1}
