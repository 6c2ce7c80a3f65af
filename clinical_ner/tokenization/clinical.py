"""The registered tokenizer: a language's rules, and those for clinical text added to them."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from spacy.lang.char_classes import UNITS
from spacy.lang.tokenizer_exceptions import emoticons
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.util import compile_infix_regex, compile_prefix_regex, compile_suffix_regex

from ..errors import ConfigError
from .rules import ABBREVIATIONS, FIRST_PREFIXES, INFIXES, PREFIXES, SUFFIXES, TOKEN_MATCH

_SINGLE_LETTER = re.compile(r"[^\W\d_]\.")
_GLOBAL_FLAGS = re.compile(r"\(\?[aiLmsux]+\)")


def create_clinical_tokenizer() -> Callable[[Language], Tokenizer]:
    """Make a tokenizer for clinical text, registered as ``clinical_ner.ClinicalTokenizer.v1``.

    It is spaCy's own class, and a saved pipeline holds its patterns: the pipeline cuts as it did in
    training whatever a later version of this package would do.

    Returns a function from a pipeline to its tokenizer, as ``[nlp.tokenizer]`` of a config wants.
    It raises ClinicalNerError for a language that spaCy does not cut at spaces.
    """
    return _for_language


def _for_language(nlp: Language) -> Tokenizer:
    standard = Language.default_config["nlp"]["tokenizer"]["@tokenizers"]
    if nlp.default_config["nlp"]["tokenizer"]["@tokenizers"] != standard:
        raise ConfigError(
            "[nlp] tokenizer: clinical_ner.ClinicalTokenizer.v1 cuts text at spaces, which "
            f"language '{nlp.lang}' is not written with. Choose the language's own tokenizer."
        )
    defaults = nlp.Defaults
    # Units are cut off by a rule of our own, which knows more of them and spares names ("T790M").
    suffixes = [rule for rule in _sources(defaults.suffixes) if UNITS not in rule]
    prefixes = [*FIRST_PREFIXES, *_sources(defaults.prefixes), *PREFIXES]
    return Tokenizer(
        nlp.vocab,
        rules={
            text: tokens
            for text, tokens in defaults.tokenizer_exceptions.items()
            if not _misread(text)
        },
        prefix_search=compile_prefix_regex(prefixes).search,
        suffix_search=compile_suffix_regex([*suffixes, *SUFFIXES]).search,
        infix_finditer=compile_infix_regex([*_sources(defaults.infixes), *INFIXES]).finditer,
        token_match=_either(TOKEN_MATCH, defaults.token_match),
        url_match=defaults.url_match,
    )


def _sources(rules: Sequence[Any] | None) -> list[str]:
    """The patterns of a language's rules, some of which may be compiled."""
    return [rule if isinstance(rule, str) else rule.pattern for rule in rules or ()]


def _misread(text: str) -> bool:
    """Whether an exception of the language means something else in a note.

    Faces ("8)", "<3", ":1") are brackets and numbers; a single letter with a dot ("24 h.") is a
    unit, a stage or a list's mark before the end of a sentence.
    """
    return text in emoticons or text in ABBREVIATIONS or bool(_SINGLE_LETTER.fullmatch(text))


def _either(pattern: str, match: Callable[..., Any] | None) -> Callable[..., Any]:
    """A pattern, or what the language's own token_match holds, as one pattern that can be saved."""
    if match is None:
        return re.compile(pattern).match
    regex = match.__self__  # type: ignore[attr-defined]
    flags = "".join(
        letter
        for letter, flag in (("i", re.I), ("m", re.M), ("s", re.S), ("x", re.X))
        if regex.flags & flag
    )
    # Flags for the whole expression may only stand at its start.
    source = _GLOBAL_FLAGS.sub("", regex.pattern, count=1)
    return re.compile(f"{pattern}|(?{flags}:{source})").match
