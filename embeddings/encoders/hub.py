"""Weights behind an OpenCLIP tag: from the cache, else from the hub, else one clear error."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

from embeddings.errors import CurationError

PROBE_SECONDS = 5.0


def weights(open_clip: ModuleType, model: str, tag: str) -> Path:
    """Return the checkpoint of `model`/`tag`, downloaded with open_clip's progress bar if need be.

    The cache is asked first and the hub only when it has nothing: a space once begun goes on with
    the same weights, and offline works as before.

    Raises
    ------
    CurationError
        Neither the cache nor the hub has them; names the three ways on.
    """
    source: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    found = cached(open_clip, source)
    if found is not None:
        return found
    why = _unreachable(source)
    if why is None:
        try:
            return Path(open_clip.download_pretrained(source))
        except (OSError, RuntimeError) as error:  # what open_clip and urllib raise for a download
            why = str(error).strip().splitlines()[0]
    raise CurationError(
        f"the weights of open_clip:{model}/{tag} are not in the cache and cannot be downloaded "
        f"({why}); go online once, or give a checkpoint file (--encoder open_clip:{model}/PATH), "
        f"or use --encoder builtin, which needs no download"
    )


def cached(open_clip: ModuleType, source: dict[str, Any]) -> Path | None:
    """Return the checkpoint that an earlier download left in the cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, name = source.get("hf_hub", "").rpartition("/")
    if not repository:
        path = Path("~/.cache/clip", Path(source.get("url", "")).name).expanduser()
        return path if path.is_file() else None
    for file in _file_names(open_clip, name):
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _file_names(open_clip: ModuleType, name: str) -> list[str]:
    # The order in which open_clip asks the hub: safetensors before pickles.
    constants = open_clip.constants
    if not name:
        return [constants.HF_SAFE_WEIGHTS_NAME, constants.HF_WEIGHTS_NAME]
    return [str(Path(name).with_suffix(".safetensors")), name]


def _unreachable(source: dict[str, Any]) -> str | None:
    """Say why the hub cannot be reached, or None when it answers.

    One request of our own, because huggingface_hub repeats a failed one for 23 seconds and
    open_clip asks for two file names. urllib honours the proxy settings, as the hub's client does.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and source.get("hf_hub"):
        return "HF_HUB_OFFLINE is set"
    address = constants.ENDPOINT if source.get("hf_hub") else source["url"]
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return None  # it answered, if only to refuse
    except OSError as error:  # URLError and a connection that breaks off among them
        reason = getattr(error, "reason", error)
        # The hub's client may trust another set of certificates: let it try.
        return None if isinstance(reason, ssl.SSLError) else f"{address}: {reason}"
    return None
