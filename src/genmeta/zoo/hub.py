"""The Hugging Face Hub, through huggingface_hub, which is optional. Only safetensors files are taken from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genmeta.core.errors import CheckpointError, UsageError
from genmeta.engine import read_header
from genmeta.engine.checkpoint import MODEL

#: Environment variables under which huggingface_hub keeps off the network.
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def fetch(repo: str, revision: str | None = None) -> Path:
    """The checkpoint of a Hub repository, from the local cache if it is there.

    Raises:
        UsageError: huggingface_hub is not installed.
        CheckpointError: there is no such repository or file, or no network.
    """
    hub = _hub()
    try:
        return Path(hub.hf_hub_download(repo_id=repo, filename=MODEL, revision=revision))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        offline = " The network is switched off (HF_HUB_OFFLINE)." if any(map(os.environ.get, _OFFLINE)) else ""
        raise CheckpointError(
            f"The Hugging Face Hub gave no {MODEL} of {repo!r}: {reason}.{offline} Check the id and the network, "
            "or give the path of a file."
        ) from error


def push_to_hub(path: str | os.PathLike[str], repo: str, *, private: bool = True, token: str | None = None) -> str:
    """Uploads a checkpoint or a fitted model, with its model card where one lies beside it.

    Args:
        path: the safetensors file.
        repo: ``owner/name``; made if there is none.
        private: whether a repository that is made can be seen by its owner alone.
        token: of the Hub; by default the one that ``hf auth login`` has saved.

    Returns:
        The address of the upload.

    Raises:
        UsageError: huggingface_hub is not installed.
        CheckpointError: the file is no genmeta model, or the Hub refused.
    """
    path = Path(path)
    read_header(path)  # nothing that is not ours goes out under this name
    hub = _hub()
    api = hub.HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        card = path.with_suffix(".md")
        if card.is_file():
            api.upload_file(path_or_fileobj=str(card), path_in_repo="README.md", repo_id=repo)
        return str(api.upload_file(path_or_fileobj=str(path), path_in_repo=MODEL, repo_id=repo))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise CheckpointError(f"The Hugging Face Hub did not take {str(path)!r} as {repo!r}: {error}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(
            "Hugging Face Hub ids need huggingface_hub: pip install 'genmeta[hub]', or give the path of a file."
        ) from None
    return huggingface_hub
