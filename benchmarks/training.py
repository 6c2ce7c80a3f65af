"""Speed of training, beside a bare loop of PyTorch with the same encoder, windows and batches.

    python benchmarks/training.py MODEL TRAIN.spacy [--limit 30] [--rounds 3] [--output FILE.json]

MODEL is a trained pipeline with a WindowedTransformer and `ner`. Each round trains on the first
--limit documents, one after the other, in changing order: with `nlp.update`, and with a loop that
does what cannot be left out: encoder and linear head forward, cross-entropy, backward, clipping,
AdamW. What the loop needs of the text (windows, batches, tags) is made before. Windows are cut at
the same places in every round. Words per second of wall time and of processor time.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from speed import BARE, OURS, Batch, encoder_batches, measure, summarise
from thinc.api import Adam, fix_random_seed

from clinical_ner.data.formats.docbin import read_docbin

#: As in configs/minilm.cfg; a rate so small that the weights hardly move.
OPTIMIZER = {"learn_rate": 1e-6, "L2": 0.01, "grad_clip": 1.0}
SECTION = "components.transformer.model"
WHOLE = {f"{SECTION}.training_shift": False}


def bare_loop(nlp: Language, docs: Sequence[Doc]) -> Callable[[], None]:
    """The loop of PyTorch over documents; the tag is O everywhere, which costs the same."""
    transformer: Any = nlp.get_pipe("transformer")
    recognizer: Any = nlp.get_pipe("ner")
    model = transformer.model
    context = model.settings.training_context
    batches: list[list[Batch]] = [
        encoder_batches(nlp, model, [doc.text], context=context) for doc in docs
    ]
    encoder = copy.deepcopy(model.transformer).train()
    tags = 2 * len(recognizer.labels) + 1
    head = torch.nn.Linear(model.get_dim("nO"), tags)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=OPTIMIZER["learn_rate"], weight_decay=0.01)

    def run() -> None:
        for of_doc in batches:
            for batch in of_doc:
                logits = head(encoder(**batch).last_hidden_state).reshape(-1, tags)
                gold = torch.zeros(len(logits), dtype=torch.long)
                torch.nn.functional.cross_entropy(logits, gold).backward()
            torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER["grad_clip"])
            optimizer.step()
            optimizer.zero_grad()

    return run


def updates(nlp: Language, docs: Sequence[Doc]) -> Callable[[], None]:
    """The updates of a pipeline over documents."""
    optimizer = Adam(
        OPTIMIZER["learn_rate"],
        L2=OPTIMIZER["L2"],
        grad_clip=OPTIMIZER["grad_clip"],
        L2_is_weight_decay=True,
        use_averages=False,
    )

    def run() -> None:
        for doc in docs:
            nlp.update([Example(nlp.make_doc(doc.text), doc)], sgd=optimizer, drop=0.1)

    return run


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("docs", type=Path)
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    fix_random_seed(0)
    nlp = spacy.load(args.model, config=WHOLE)
    docs = read_docbin(args.docs, nlp.vocab)[: args.limit]
    words = sum(map(len, docs))
    runs = {BARE: bare_loop(nlp, docs), OURS: updates(nlp, docs)}
    for build in (bare_loop, updates):
        build(nlp, docs[:1])()
    times = measure(runs, rounds=args.rounds)
    found = summarise(times, words=words)
    print(f"{len(docs)} documents, {words} words, {torch.get_num_threads()} threads")
    for key, title in ((BARE, "bare loop"), (OURS, "nlp.update")):
        speed, share = found[key]["words_per_second"], found[key]["of_bare"]
        print(
            f"{title:12}{speed['wall']:7.0f} words/s{speed['processor']:7.0f} by CPU; "
            f"of bare {share['wall']:.3f}, {share['processor']:.3f}"
        )
    if args.output:
        record = {"documents": len(docs), "words": words, "variants": found}
        args.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
