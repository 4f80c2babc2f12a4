"""Unicode scripts as sets of characters: what `--vocab scripts:…` chooses by.

A character that several scripts share by name (the Devanagari danda, the kana length mark) belongs to each of them:
Script_Extensions of Unicode Standard Annex #24, as the `regex` package has it. What all scripts share is divided into
digits, punctuation (with symbols), emoji, and the rest (spaces, controls, joiners, marks), which always stays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mlexport.errors import UsageError

DIGITS, PUNCTUATION, EMOJI = "digits", "punctuation", "emoji"
# Whether a choice is on where it is not named
_DEFAULTS = {DIGITS: True, PUNCTUATION: True, EMOJI: False}
# Codes of ISO 15924 that stand for several scripts, or for a variant that Unicode does not tell apart
_JOINED = {
    "jpan": ("Hani", "Hira", "Kana"),
    "kore": ("Hang", "Hani"),
    "hrkt": ("Hira", "Kana"),
    "hans": ("Hani",),
    "hant": ("Hani",),
}
# For suggestions; any other script that Unicode knows is accepted too
_COMMON_SCRIPTS = {
    "Arab": "Arabic",
    "Armn": "Armenian",
    "Beng": "Bengali",
    "Bopo": "Bopomofo",
    "Cher": "Cherokee",
    "Cyrl": "Cyrillic",
    "Deva": "Devanagari",
    "Ethi": "Ethiopic",
    "Geor": "Georgian",
    "Grek": "Greek",
    "Gujr": "Gujarati",
    "Guru": "Gurmukhi",
    "Hang": "Hangul",
    "Hani": "Han",
    "Hebr": "Hebrew",
    "Hira": "Hiragana",
    "Jpan": "Jpan",
    "Kana": "Katakana",
    "Khmr": "Khmer",
    "Knda": "Kannada",
    "Kore": "Kore",
    "Laoo": "Lao",
    "Latn": "Latin",
    "Mlym": "Malayalam",
    "Mong": "Mongolian",
    "Mymr": "Myanmar",
    "Orya": "Oriya",
    "Sinh": "Sinhala",
    "Syrc": "Syriac",
    "Taml": "Tamil",
    "Telu": "Telugu",
    "Thaa": "Thaana",
    "Thai": "Thai",
    "Tibt": "Tibetan",
}
# What `regex` calls them where no script, or none in particular, is meant
_NO_SCRIPTS = frozenset({"zyyy", "common", "zinh", "inherited", "qaai", "zzzz", "unknown"})

# Character classes of `regex`, version 1 syntax (sets with && and --)
_SHARED = r"[\p{scx=Zyyy}\p{scx=Zinh}]"
# A pictograph of the basic plane, such as © or ✓, is text unless a selector makes it a picture: a symbol here
_PICTURES = (
    r"[\p{Emoji_Presentation}\p{Emoji_Modifier}\p{Regional_Indicator}"
    r"[\p{Extended_Pictographic}&&[\U00010000-\U0010FFFF]]]"
)
_CHOICES = {
    DIGITS: rf"[{_SHARED}&&\p{{N}}--{_PICTURES}]",
    PUNCTUATION: rf"[{_SHARED}&&[\p{{P}}\p{{S}}]--{_PICTURES}]",
    EMOJI: rf"[{_SHARED}&&{_PICTURES}]",
}
_REST = rf"[{_SHARED}--[\p{{N}}\p{{P}}\p{{S}}]--{_PICTURES}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """Scripts by the names `regex` knows, and which of digits, punctuation and emoji come with them."""

    names: tuple[str, ...]
    choices: tuple[str, ...]


def parse_scripts(text: str) -> Scripts:
    """Scripts of a list such as "Latn,Cyrl,emoji,-digits".

    Names are Unicode's, long or of four letters, or ISO 15924's Jpan, Kore, Hans, Hant; digits and punctuation
    come along unless a "-" stands before them, emoji only where they are named.

    Raises:
        UsageError: no script, or one that Unicode does not know; the message suggests others.
    """
    chosen, names = dict(_DEFAULTS), list[str]()
    for word in filter(None, (part.strip() for part in text.split(","))):
        choice = word.removeprefix("-").lower()
        if choice in chosen:
            chosen[choice] = not word.startswith("-")
        else:
            names += _JOINED.get(word.lower()) or (_known(word),)
    if not names:
        raise UsageError(f"--vocab scripts:{text} names no script: expected a list such as scripts:Latn,Cyrl")
    kept = tuple(choice for choice, on in chosen.items() if on)
    return Scripts(names=tuple(dict.fromkeys(names)), choices=kept)


def characters(scripts: Scripts) -> frozenset[str]:
    """Every character of the scripts, of what all scripts share, and of the choices."""
    import regex  # noqa: PLC0415

    classes = [*(rf"\p{{scx={name}}}" for name in scripts.names), _REST, *(_CHOICES[c] for c in scripts.choices)]
    return frozenset(regex.findall(f"[{''.join(classes)}]", _all_characters(), flags=regex.V1))


def _all_characters() -> str:
    return "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))))


def _known(word: str) -> str:
    """The word, if Unicode has a script of this name."""
    import regex  # noqa: PLC0415

    if word.replace("_", "").isalnum() and word.lower() not in _NO_SCRIPTS:
        try:
            regex.compile(rf"\p{{scx={word}}}")
        except regex.error:
            pass
        else:
            return word
    raise UsageError(f"--vocab knows no script '{word}'{_suggestion(word)}")


def _suggestion(word: str) -> str:
    names: Sequence[str] = [*_COMMON_SCRIPTS, *_COMMON_SCRIPTS.values(), *_DEFAULTS]
    codes = {name: code for code, name in _COMMON_SCRIPTS.items()}
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(word.lower().removeprefix("-"), by_lower, n=1, cutoff=0.6)
    if near:
        name = by_lower[near[0]]
        return f": did you mean {codes.get(name, name)}?"
    return ": expected names such as Latn, Cyrl, Arab, Jpan, or digits, punctuation, emoji"
