"""Where clinical text is cut, beyond the rules of its language: patterns for spaCy's tokenizer.

Each answers to places in case reports where annotators' mentions began or ended inside a token
(benchmarks/tokenizer.py counts them): units at their numbers, dots after units, spaces lost after a
sentence or before a citation's number, signs and brackets between words.
"""

from __future__ import annotations

from spacy.lang.char_classes import ALPHA_LOWER as LOWER
from spacy.lang.char_classes import ALPHA_UPPER as UPPER

LETTER = r"[^\W\d_]"
ALNUM = r"[^\W_]"

#: Distinguished from a letter of a name or a figure's panel ("3h") by what is before the number.
_SHORT_UNITS = ("g", "h", "l", "m", "L", "T", "U")
#: In upper and lower case alike.
_LONG_UNITS = (
    *("km", "dm", "cm", "mm", "µm", "μm", "um", "nm", "ft"),
    *("kg", "mg", "µg", "μg", "ug", "mcg", "ng", "pg", "lb", "lbs", "oz"),
    *("dl", "cl", "ml", "µl", "μl", "ul", "nl", "fl", "cc"),
    *("mol", "mmol", "µmol", "μmol", "umol", "nmol", "pmol", "mM", "µM", "μM", "uM"),
    *("Eq", "mEq", "Osm", "mOsm", "IU", "mIU", "mU", "µU", "μU", "kU", "unit", "units"),
    *("Pa", "hPa", "kPa", "mbar", "mmHg", "cmH2O", "mmH2O"),
    *("mV", "kV", "kVp", "mA", "mAs", "Hz", "kHz", "MHz", "GHz", "dB", "kcal", "kJ"),
    *("Gy", "cGy", "mGy", "mSv", "Bq", "kBq", "MBq", "GBq", "mCi"),
    *("bpm", "rpm", "ppm", "mph", "kmh", "ms", "sec", "secs", "second", "seconds"),
    *("min", "mins", "minute", "minutes", "hr", "hrs", "hour", "hours", "day", "days"),
    *("wk", "wks", "week", "weeks", "month", "months", "yr", "yrs", "yo", "year", "years"),
)
_UNITS = f"(?:(?i:{'|'.join(_LONG_UNITS)})|{'|'.join(_SHORT_UNITS)})[23²³]?(?!{ALNUM})"
#: Not a number that belongs to a name, as in "q12h", "V600g" or "Fig.3h".
_OF_A_NAME = "".join(
    rf"(?<!{before})" for before in (*(LETTER + r"\d" * n for n in (1, 2, 3)), rf"{LETTER}\.\d")
)

#: Relations, arrows, bullets and the bars of tables; a token of their own wherever they stand.
_SIGNS = "[±≥≤≈∼≅≃≠≡×÷⇒→←↑↓↔~|•]"
_DASHES = "(?:[–—‐‑‒―−]|--+)"

#: Before the language's own, which would cut rulers ("=====") into their characters.
FIRST_PREFIXES = (r"(?P<ruler>[^\w\s]|_)(?P=ruler){3,}",)
PREFIXES = (_SIGNS,)
SUFFIXES = (
    _SIGNS,
    # "mL.", "mg/L.", "hepatitis C.": an upper-case letter ends sentences here more than it stands
    # for a name; dotted abbreviations are TOKEN_MATCH's.
    rf"(?<=[{UPPER}Ⅰ-Ⅻ])\.",
    rf"(?<={LETTER}{LETTER})/",
)
_CUTS = (
    rf"{_SIGNS}|[<>=]",
    # "5–10", "20%–25%", "high—7443"
    rf"(?<=[^\W_]|[%+)\]]){_DASHES}(?={ALNUM})|(?<=[%+])-(?={ALNUM})",
    # "(HER2)-positive", "calcification(figure", "PET)/CT", "III).[9"
    r"[()\[\]]",
    r"(?<=[)\]])[-/.,:;+]",
    r"[-/.,:;+](?=[(\[])",
    # "3.Man", "10/10.The", "MRI.She"
    rf"(?<=[{UPPER}\d%])\.(?=[{UPPER}][{LOWER}])",
    # "movements.5": the number of a citation, once raised; not "Fig.5"
    rf"(?<=[{LOWER}][{LOWER}][{LOWER}][{LOWER}])\.(?=\d)",
    rf"(?<=[{UPPER}][{UPPER}])\.(?=\d)",
    # "mg/24h", "10⁹/L", "16,400/µL", "1+/HP"; not "120/80"
    rf"(?<={LETTER})/(?=\d)",
    rf"(?<=[^\W_]|[+%])/(?={LETTER})",
    # "Hb:12", "fever;cough", "2/10,was", "CT+MRI"; not "10:30", "46,XX", "t(9;22)"
    rf"(?<={LETTER}):(?=\d)",
    rf"(?<={LETTER});(?={ALNUM})|(?<={ALNUM});(?={LETTER})",
    rf"(?<=[\d%]),(?=[{LOWER}][{LOWER}])|(?<=[{LOWER}][{LOWER}]),(?=[\d<>≥≤])",
    rf"(?<={LETTER})\+(?={LETTER})",
)
INFIXES = (
    # "5mg", "120/80mmHg", "20%–25%"
    rf"(?<=\d)(?:(?=[%‰])|{_OF_A_NAME}(?={_UNITS}))",
    # "fibers4": again a citation; not "alpha1"
    rf"(?=\d)(?<={f'[{LOWER}]' * 6})(?=\d{{1,3}}(?!{ALNUM}))",
    # One look at the character spares the tries of all cuts at most places.
    rf"(?![\w'’])(?:{'|'.join(_CUTS)})",
)
#: "b.i.d.", "p.o.", "O.R.": dots after single letters belong to them, at a sentence's end too. And
#: what has no space in 2,000 characters is no writing: spaCy's own loop cuts a prefix and a suffix
#: at a time, in time that grows with the square of the length.
TOKEN_MATCH = rf"(?:{LETTER}\.){{2,}}$|\S{{2000}}"
#: Exceptions of English that stand for something else in notes: intramuscular.
ABBREVIATIONS = frozenset({"im", "Im", "iM", "IM"})
