"""Words for the emotions: NimStim's codes, CO for contempt, and the names used in other corpora's tables."""

from __future__ import annotations

from siamplex.corpus.emotions import EMOTIONS, NAMES, in_order
from siamplex.errors import UsageError
from siamplex.schema.csv_files import plain

# English, German, French, Spanish, Italian, Dutch, Portuguese; af and su are KDEF's codes, hap, sur and
# their like the headings of JAFFE's ratings
_WORDS = {
    "AN": "anger angry ang wut ärger wütend zorn colère enojo ira enfado rabbia boosheid boos woede raiva",
    "DI": "disgust disgusted dis ekel dégoût asco disgusto walging afschuw nojo",
    "FE": "fear fearful fea afraid scared af angst furcht ängstlich peur miedo paura medo",
    "HA": "happiness happy hap joy joyful freude fröhlich glücklich joie alegría felicidad gioia felicità blijdschap "
    "blij alegria felicidade",
    "SA": "sadness sad trauer traurig traurigkeit tristesse triste tristeza tristezza verdriet verdrietig",
    "SP": "surprise surprised su sur überraschung überrascht sorpresa verrassing verrast surpresa",
    "NE": "neutral neu neutre neutro neutra neutraal",
    "CA": "calm ruhig calme calma kalm",
    "CO": "contempt contemptuous verachtung mépris desprecio disprezzo minachting desprezo",
}
_CODES = {
    **{plain(word): code for code, words in _WORDS.items() for word in words.split()},
    **{plain(code): code for code in NAMES},
}


def code_of(word: str) -> str | None:
    """Code of an emotion by its code or name, in any letter case; None unknown."""
    return _CODES.get(plain(word))


def chosen(text: str) -> tuple[str, ...]:
    """Emotions of a list such as ``six,neutral`` or ``HA,SA``: at least two, in the order of figures.

    ``six`` are the paper's.  Raises UsageError.
    """
    found: set[str] = set()
    for word in (w.strip() for w in text.split(",")):
        code = code_of(word)
        if word.casefold() == "six":
            found |= set(EMOTIONS)
        elif code is None:
            known = ", ".join(("six", *NAMES.values()))
            raise UsageError(f"--emotions: expected emotions ({known}), commas between, found '{word}'")
        else:
            found.add(code)
    if len(found) < 2:
        raise UsageError(f"--emotions: expected at least two, found '{text}'")
    return in_order(found)
