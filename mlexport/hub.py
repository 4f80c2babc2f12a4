"""Where a checkpoint lies: the package's own, a folder, or a copy of a Hugging Face repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlexport.errors import CheckpointError

DEMO = "demo"
_DEMO_FOLDER = Path(__file__).parent / "data" / "demo"
# What a cut reads; a repository may hold gigabytes in other formats
FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "U.pth",
    "V.pth",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/*",
    # Its licence, which goes along
    "README.md",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    "COPYING*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A checkpoint's local folder; `revision` is the commit of a repository, None for a folder."""

    name: str
    folder: Path
    revision: str | None


def resolve(model: str) -> ResolvedModel:
    """The local folder of "demo", of a folder, or of a hub id OWNER/NAME[@REVISION], which is downloaded once.

    "demo" is always the package's own checkpoint: a folder of that name is "./demo".

    Raises:
        CheckpointError: no such checkpoint, or it cannot be downloaded.
    """
    if model == DEMO:
        return ResolvedModel(name=DEMO, folder=_DEMO_FOLDER, revision=None)
    # Printed as one line, whatever was asked for
    asked = " ".join(model.split())
    try:
        folder = Path(model).expanduser()
        exists, is_folder = bool(model) and folder.exists(), folder.is_dir()
    except (OSError, RuntimeError) as error:
        # Too long, in a folder that may not be read, or in the home of an unknown user
        reason = error.strerror if isinstance(error, OSError) else "no such user"
        raise CheckpointError(f"no checkpoint '{asked[:100]}': {reason}") from None
    if exists and is_folder:
        return ResolvedModel(name=folder.resolve().name, folder=folder, revision=None)
    if exists:
        raise CheckpointError(f"{asked} is a file: a checkpoint is a folder with config.json and model.safetensors")
    name, _, revision = model.partition("@")
    if name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise CheckpointError(f"no checkpoint '{asked}': expected demo, an existing folder, or a hub id OWNER/NAME")
    # The hub's library looks for a revision as a file in its cache, and would follow it out of there
    if ".." in revision or revision.startswith("/") or not revision.isprintable():
        raise CheckpointError(f"'{asked}' has no possible revision after @: expected a branch, a tag or a commit")
    return _download(name, revision or None)


def _download(name: str, revision: str | None) -> ResolvedModel:
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415

    asked = name if revision is None else f"{name}@{revision}"
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except errors.HFValidationError:
        raise CheckpointError(
            f"'{' '.join(name.split())}' is neither an existing folder nor a possible hub id OWNER/NAME"
        ) from None
    except errors.GatedRepoError:
        raise CheckpointError(f"{asked} is gated: accept its terms on its page, then run `hf auth login`") from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(
            f"{name} has no revision '{revision}' on the hub: choose a branch, a tag or a commit of it"
        ) from None
    except errors.RepositoryNotFoundError:
        raise CheckpointError(
            f"'{asked}' is no existing folder, and not on the hub (or private: `hf auth login`)"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise CheckpointError(
            f"'{asked}' is no existing folder, not in the hub's local cache, and the hub cannot be reached: "
            "connect (or unset HF_HUB_OFFLINE), or use --model demo"
        ) from None
    except (OSError, RuntimeError, ValueError, errors.HTTPError, errors.XetDownloadError) as error:  # type: ignore[attr-defined]
        # HTTPError is httpx's, or httpx2's: the hub's library names the one that it uses, and lets it through
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{asked} cannot be downloaded: {reason}. Try again, or pass a folder of it") from None
    # A snapshot's folder is named by its commit
    return ResolvedModel(name=name, folder=folder, revision=folder.name)
