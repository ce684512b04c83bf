"""Names that every file system takes, from texts that people typed."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable

NAME_BYTES = 80  # UTF-8: leaves room in the usual 255 for a suffix, and in 260 for a Windows path
_PUNCTUATION = " -_.,()+&@="
_EMOJI_PARTS = "\u200d"  # joins the people of a family
_WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"
}


def folder_names(labels: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return a folder name for each label: readable, safe, and no two the same.

    A label that is safe keeps its name. One that had to be changed, is in `reserved`, or differs
    from another only in a way that some file systems ignore (case, Unicode form) gets ``~`` and the
    beginning of its SHA-256; ``~`` stands in no other name, so names are as different as labels.
    """
    readable = {label: safe_name(label) for label in sorted(set(labels))}
    unchanged = [label for label, name in readable.items() if name == label]
    crowd = Counter(_fold(name) for name in [*unchanged, *reserved])
    named: dict[str, str] = {}
    for length in (8, 64):  # all of the digest should 32 bits of it ever meet
        for label, name in readable.items():
            kept = name == label and crowd[_fold(name)] == 1
            digest = hashlib.sha256(label.encode()).hexdigest()[:length]
            named[label] = name if kept else f"{name}~{digest}"
        if len({_fold(name) for name in named.values()}) == len(named):
            break
    return named


def safe_name(text: str) -> str:
    """Return `text` as one path component that Linux, macOS and Windows all take.

    Letters, digits, emoji and plain punctuation stay, the rest becomes ``_``; at most 80 bytes.
    """
    kept = "".join(character if _is_safe(character) else "_" for character in text)
    short = kept.encode()[:NAME_BYTES].decode(errors="ignore")
    # a leading dot hides a file, a leading dash reads as an option, Windows drops trailing ones
    bare = short.rstrip(" .")
    if not bare or bare[0] in " .-":
        bare = "_" + bare[1:]
    is_device = bare.split(".")[0].rstrip(" ").upper() in _WINDOWS_DEVICES
    return f"_{bare}" if is_device else bare


def _is_safe(character: str) -> bool:
    category = unicodedata.category(character)
    if character in _PUNCTUATION or character in _EMOJI_PARTS:
        return True
    # letters, marks, numbers, emoji (So) and their skin tones (Sk beyond ASCII's ^ and `)
    return category[0] in "LMN" or category == "So" or (category == "Sk" and character > "\x7f")


def _fold(name: str) -> str:
    """Return what the most forgetful file system would keep of a name."""
    return unicodedata.normalize("NFKC", name).upper().casefold()
