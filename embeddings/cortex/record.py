"""One Cortex record: what an image is and what analyses found on it, to and from plain values."""

import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from embeddings.errors import CurationError

STAGES = ("object_analysis", "pose_estimation", "face_analysis")
MAX_DEPTH = 64  # a record is 4 deep; Python's own limit depends on who calls
MAX_SIDE = 2**31 - 1  # pixels: the tables count them in 32 bits

_BOXES, _QUALITY = "object_analysis", "label_quality_estimation"
_FLAGS = {stage: f"{stage}_processed" for stage in STAGES}
_KNOWN = (
    *("_id", "url", "datetime", *_FLAGS.values(), "source", "type", "height", "width", "hash"),
    *(_BOXES, _QUALITY),
)
_CORNERS = ("x1", "y1", "x2", "y2")
_DETECTION = ("classname", "conf", *_CORNERS)
_ID = re.compile(r"PT::[0-9A-Fa-f]{24}")
_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?", flags=re.ASCII
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


@dataclass(frozen=True)
class Detection:
    """One found object: `xyxy` as it came, absolute pixels; whole and broken numbers stay so."""

    class_name: str
    confidence: float
    xyxy: tuple[float, float, float, float]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CortexRecord:
    """One image as Cortex describes it.

    `first_seen` is ISO 8601 UTC; `stages` says which of `STAGES` have been run; `analyses` holds
    one tuple of detections an analysis; `label_quality` is None when unknown; `extra` holds the
    keys that are not Cortex's.
    """

    record_id: str
    url: str
    first_seen: str
    stages: Mapping[str, bool]
    source: str | None
    width: int
    height: int
    sha256: str
    analyses: tuple[tuple[Detection, ...], ...] = ()
    label_quality: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def from_cortex(value: Mapping[str, Any]) -> CortexRecord:
    """Return the record that `value` is, parsed from JSON.

    Flags may be booleans or words, and `object_analysis` a list of detections or of lists of them.
    The keys that say which image it is must be there (_id, url, datetime, height, width, hash); an
    absent flag is false.

    Raises
    ------
    CurationError
        Naming the key, what was expected and what was got.
    """
    if not isinstance(value, Mapping):
        _refuse("a record", "an object", value)
    if value.get("type", "image") != "image":
        _refuse("type", '"image"', value["type"])
    return CortexRecord(
        record_id=_matching(value, "_id", _ID, "PT:: and 24 hex digits"),
        url=_address(_required(value, "url")),
        first_seen=_from_time(_required(value, "datetime")),
        stages={stage: _flag(value, key) for stage, key in _FLAGS.items()},
        source=_text(value, "source") if value.get("source") is not None else None,
        width=_side(value, "width"),
        height=_side(value, "height"),
        sha256=_matching(value, "hash", _HASH, "64 hex digits").lower(),
        analyses=_analyses(value.get(_BOXES)),
        label_quality=_number(value, _QUALITY) if value.get(_QUALITY) is not None else None,
        extra=_extra(value, _KNOWN),
    )


def to_cortex(record: CortexRecord) -> dict[str, Any]:
    """Return the record as published: Cortex's keys in their order, then those it came with."""
    flags = {key: str(record.stages.get(s, False)).lower() for s, key in _FLAGS.items()}
    return {
        "_id": record.record_id,
        "url": record.url,
        "datetime": to_time(record.first_seen),
        **flags,
        **({} if record.source is None else {"source": record.source}),
        "type": "image",
        "height": record.height,
        "width": record.width,
        "hash": record.sha256,
        _BOXES: [[_to_detection(found) for found in analysis] for analysis in record.analyses],
        _QUALITY: record.label_quality,
        **record.extra,
    }


def dumps(record: CortexRecord) -> str:
    """Return the record as one line of JSON, ASCII."""
    return json.dumps(to_cortex(record), allow_nan=False)


def to_time(moment: str) -> str:
    """Return an ISO 8601 time as Cortex writes it: UTC, microseconds, no zone."""
    parsed = datetime.fromisoformat(moment)
    utc = parsed.astimezone(UTC) if parsed.tzinfo else parsed
    return utc.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _from_time(value: Any) -> str:
    expected = '"YYYY-MM-DD HH:MM:SS.ffffff"'
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        _refuse("datetime", expected, value)
    try:
        parsed = datetime.fromisoformat(value)
        moment = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # a 31st of February; the year 1 in another zone
        _refuse("datetime", expected, value)
    return moment.isoformat(timespec="microseconds")


def shortened(value: Any) -> str:
    """Return a value as it may be quoted in a message: short, and on one line."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python does not write out numbers of more than 4,300 digits
        return "a number of thousands of digits"


def _refuse(key: str, expected: str, value: Any) -> NoReturn:
    raise CurationError(f"{key}: expected {expected}, got {shortened(value)}")


def _required(value: Mapping[str, Any], key: str) -> Any:
    if key not in value:
        raise CurationError(f"{key}: expected in every record, but it is missing")
    return value[key]


def _text(value: Mapping[str, Any], key: str) -> str:
    text = _required(value, key)
    if not isinstance(text, str) or not text or not _storable(text):
        _refuse(key, "text", text)
    return text


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: JSON can spell it, UTF-8 and tables cannot
        return False
    return True


def _matching(value: Mapping[str, Any], key: str, form: re.Pattern[str], expected: str) -> str:
    text = _required(value, key)
    if not isinstance(text, str) or not form.fullmatch(text):
        _refuse(key, expected, text)
    return text


def _address(value: Any) -> str:
    if _CONTROLS.search(address := _text({"url": value}, "url")):
        _refuse("url", "an address without control characters", value)
    return address


def _side(value: Mapping[str, Any], key: str) -> int:
    side = _required(value, key)
    if not isinstance(side, int) or isinstance(side, bool) or not 0 < side <= MAX_SIDE:
        _refuse(key, "a whole number of pixels above 0", side)
    return side


def _flag(value: Mapping[str, Any], key: str) -> bool:
    flag = value.get(key, False)
    if isinstance(flag, str) and flag.lower() in ("true", "false"):
        return flag.lower() == "true"
    if not isinstance(flag, bool):
        _refuse(key, '"true" or "false"', flag)
    return flag


def _number(value: Mapping[str, Any], key: str) -> float:
    number = _required(value, key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not _finite(number):
        _refuse(key, "a number", number)
    return number


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond what any calculation takes
        return False


def _analyses(value: Any) -> tuple[tuple[Detection, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        _refuse(_BOXES, "a list", value)
    if value and all(isinstance(found, Mapping) for found in value):
        value = [value]  # a flat list is one analysis
    return tuple(_analysis(found) for found in value)


def _analysis(value: Any) -> tuple[Detection, ...]:
    if not isinstance(value, list | tuple):
        _refuse(_BOXES, "a list of lists, or a list of detections", value)
    return tuple(_detection(found) for found in value)


def _detection(value: Any) -> Detection:
    if not isinstance(value, Mapping):
        _refuse(f"{_BOXES}, a detection", "an object", value)
    try:
        x1, y1, x2, y2 = (_number(value, corner) for corner in _CORNERS)
        name, confidence = _text(value, "classname"), _number(value, "conf")
        return Detection(name, confidence, (x1, y1, x2, y2), _extra(value, _DETECTION))
    except CurationError as error:
        raise CurationError(f"{_BOXES}, {error}") from error


def _to_detection(found: Detection) -> dict[str, Any]:
    box = dict(zip(_CORNERS, found.xyxy, strict=True))
    return {"classname": found.class_name, "conf": found.confidence, **box, **found.extra}


def _extra(value: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return what is not Cortex's, as JSON would give it back; what JSON cannot hold is refused."""
    extra = {key: kept for key, kept in value.items() if key not in known}
    if not extra:
        return extra
    if _deeper(extra, MAX_DEPTH):
        raise CurationError(f"expected at most {MAX_DEPTH} lists in lists, got more")
    try:
        text = json.dumps(extra, allow_nan=False, ensure_ascii=False)
        text.encode()
        kept: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError):  # no JSON: NaN, half a character, something of Python's
        _refuse("a key that is not Cortex's", "what JSON can hold", extra)
    return kept


def _deeper(value: Any, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list | tuple):
        return False
    return depth == 0 or any(_deeper(part, depth - 1) for part in inner)
