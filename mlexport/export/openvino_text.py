"""An IR that takes strings: the tokenizer as operators of openvino-tokenizers in front of the same model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlexport.artifact import TensorPlan
from mlexport.errors import ExportError, missing_extra
from mlexport.export.files import append_end
from mlexport.export.token_ids import compared_limit, require_equal_ids
from mlexport.model import SubModel, TextFacts

if TYPE_CHECKING:
    import openvino as ov

_INPUTS = ("input_ids", "attention_mask")


def write_text_in(
    sub: SubModel, plan: Sequence[TensorPlan], folder: Path, model: str, advance: Callable[[int], None]
) -> str:
    """Write an IR that takes `text` (strings [batch]) beside the one that takes ids.

    It gives `sentence_embedding`, and the `input_ids` and `attention_mask` it was made from. It is read only where
    openvino-tokenizers is loaded too.

    Args:
        plan: the plan of `model`.
        model: the IR in `folder` that takes ids; `_text` is put behind its name.
        advance: called with the bytes of the tensors, once they are written.

    Returns:
        The file's path in the folder, such as openvino/openvino_model_text.xml.

    Raises:
        ExportError: the operators' token ids differ from tokenizer.json's on a probe text.
        MissingExtraError: openvino-tokenizers or transformers is not installed.
    """
    for module, extra in (("openvino_tokenizers", "text"), ("transformers", "torch")):
        if find_spec(module) is None:
            raise missing_extra(module.replace("_", "-"), extra, "--text-in")
    facts, tokenizer = sub.text, sub.tokenizer()
    _require_equal_ids(tokenizer, facts)
    name = Path(model).with_stem(f"{Path(model).stem}_text")
    _join(tokenizer_model(tokenizer, facts, facts.max_length), folder / model, folder / name)
    advance(sum(row.bytes for row in plan))
    return name.as_posix()


def tokenizer_model(tokenizer: Mapping[str, Any], facts: TextFacts, limit: int) -> ov.Model:
    """Strings [batch] in; `input_ids` and `attention_mask`, int64 [batch, sequence], padded right, out.

    Args:
        tokenizer: tokenizer.json.
        limit: longest text in tokens, the end token among them.

    Raises:
        ExportError: openvino-tokenizers cannot convert it.
    """
    # transformers first: openvino-tokenizers looks for it among the modules that are loaded
    from transformers import PreTrainedTokenizerFast  # noqa: I001, PLC0415
    from openvino.exceptions import OVError  # noqa: PLC0415
    from openvino_tokenizers import convert_tokenizer  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    content = dict(tokenizer) if facts.end_appended else append_end(dict(tokenizer), facts)
    backend = Tokenizer.from_str(json.dumps(content))
    backend.enable_truncation(limit)
    padding = backend.id_to_token(facts.pad_id)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=limit, pad_token=padding, padding_side="right"
    )
    # It warns of every attribute that a tokenizer has not
    logging.getLogger("openvino_tokenizers").setLevel(logging.ERROR)
    try:
        return convert_tokenizer(wrapped, with_detokenizer=False, truncation=True, max_length=limit)
    except (OVError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[-160:]
        raise ExportError(f"--text-in is refused: openvino-tokenizers cannot convert this one: {reason}") from None


def _require_equal_ids(tokenizer: Mapping[str, Any], facts: TextFacts) -> None:
    import openvino as ov  # noqa: PLC0415

    compiled = ov.Core().compile_model(tokenizer_model(tokenizer, facts, compared_limit(facts)), "CPU")

    def run(texts: Sequence[str]) -> list[list[int]]:
        found = (compiled([text]) for text in texts)
        return [one["input_ids"][0][one["attention_mask"][0] == 1].tolist() for one in found]

    require_equal_ids(tokenizer, facts, run)


def _join(front: ov.Model, model: Path, path: Path) -> None:
    """The model with the tokenizer's outputs in place of its inputs."""
    import openvino as ov  # noqa: PLC0415

    back = ov.Core().read_model(model)
    extra = []
    for name in _INPUTS:
        source = front.output(name).get_node().input_value(0)
        back.input(name).get_node().output(0).replace(source)
        source.get_tensor().set_names({name})
        extra.append(ov.opset8.result(source))
    [text] = front.get_parameters()
    text.output(0).get_tensor().set_names({"text"})
    # The tokenizer keeps its tables in a state, whose writer is a sink of the graph
    joined = ov.Model([*back.get_results(), *extra], front.get_sinks(), [text], "embedder")
    for key, value in back.get_rt_info().items():
        joined.set_rt_info(value, key)
    ov.save_model(joined, path, compress_to_fp16=False)
