"""Sanitised copies of PyTorch archives, TorchScript and `torch.export`, in which nothing is executed while loading.

Both formats are zip files. So is the output of `torch.save`, which is a pickle and is refused. `torch.jit.load`
unpickles in C++, where only tensors and TorchScript types can result; the graph is checked before it runs.
`torch.export.load` unpickles and evaluates several parts of a file in Python: these are removed, or checked against
allow-lists. Imports no torch.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from inference.errors import ModelError
from inference.models.thirdparty.detection import ANY, Dims, Port, Signature

Kind = Literal["torchscript", "exported", "pickle"]

_PROGRAM = "models/model.json"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_CONFIGS = (f"{_WEIGHTS}model_weights_config.json", f"{_CONSTANTS}model_constants_config.json")
_TENSOR = re.compile(rf"{_WEIGHTS}weight_\d+|{_CONSTANTS}tensor_\d+")
_PLAIN_FILES = frozenset(
    ("archive_format", "archive_version", "byteorder", "version", ".data/version", ".data/serialization_id")
)
_SAMPLE = "data/sample_inputs/model.pt"

_RUN_BY_LOADER = b"__setstate__"
"""A method that TorchScript runs while loading, before its graph can be checked."""
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b|save\b)_?[a-z]\w*\.\w+|math\.(?:trunc|ceil|floor)"
    r"|_operator\.(?:add|sub|mul|neg|pow|mod|floordiv|truediv|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_WORD = re.compile(r"[\w.]*", re.ASCII)
_LOOSE_WORD = re.compile(r"[\w., >-]*", re.ASCII)
_EXPRESSION = re.compile(r"[\w\s(),'=+*/-]*", re.ASCII)
_EXPRESSION_WORDS = re.compile(
    r"[su]\d+|\d+|Symbol|Integer|positive|integer|nonnegative|True|False|Add|Mul|Mod|PythonMod|Min|Max|FloorDiv|CeilDiv"
)
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_KEYS = re.compile(r'\[("\w+"(, )?)*\]|null', re.ASCII)


def archive_kind(path: Path) -> Kind | None:
    """Identify a PyTorch file; None for any other file. Raises ModelError for a truncated archive."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PK\3\4":
            raise ModelError(f"{path} is truncated: copy or export it again.")
        return "pickle" if head[:1] == b"\x80" else None
    with _opened(path) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    if _PROGRAM in names:
        return "exported"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    return "pickle" if any(name.endswith(".pkl") for name in names) else None


def checked_torchscript(path: Path) -> io.BytesIO:
    """Copy an archive for `torch.jit.load`. Raises ModelError if loading would run the file's code."""
    files = _files(path)
    if any(_RUN_BY_LOADER in content for name, content in files.items() if name.startswith("code/")):
        raise ModelError(f"{path} contains code that runs while loading (__setstate__): it is not loaded.")
    return _archive(files)


def is_pure(operation: str) -> bool:
    """Whether an operation of a TorchScript graph, such as aten::add, only computes: no files, no Python code."""
    namespace, _, name = operation.partition("::")
    return namespace in ("aten", "prim") and name not in (
        "save",
        "from_file",
        "PythonOp",
        "IgnoredPythonOp",
        "CallMethod",
    )


def checked_export(path: Path) -> io.BytesIO:
    """Copy an archive for `torch.export.load`, without what that would unpickle or execute. Raises ModelError."""
    files = _files(path)
    unknown = [n for n in files if n not in {*_PLAIN_FILES, *_CONFIGS, _PROGRAM, _SAMPLE} and not _TENSOR.fullmatch(n)]
    if unknown:
        raise ModelError(f"{path} contains {unknown[0]}, which would be executed or unpickled: it is not loaded.")
    for config in _CONFIGS:
        _require_tensors(path, _json(path, files, config))
    files[_PROGRAM] = json.dumps(_sanitised(path, _json(path, files, _PROGRAM))).encode()
    files[_SAMPLE] = b""  # a pickle that is not needed
    return _archive(files)


def exported_signature(path: Path) -> Signature:
    """Read inputs and outputs of a `torch.export` archive. Raises ModelError."""
    graph = _json(path, _files(path, _PROGRAM), _PROGRAM)["graph_module"]
    try:
        specs, tensors = graph["signature"], graph["graph"]["tensor_values"]
        inputs = [s["user_input"]["arg"]["as_tensor"]["name"] for s in specs["input_specs"] if "user_input" in s]
        outputs = [s["user_output"]["arg"]["as_tensor"]["name"] for s in specs["output_specs"] if "user_output" in s]
        taken, given = (tuple(Port(n, _dims(tensors[n])) for n in names) for names in (inputs, outputs))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} takes or returns something other than tensors: a matting model does not.") from error
    return Signature(taken, given)


def _dims(tensor: dict[str, Any]) -> Dims:
    return tuple(side.get("as_int", ANY) for side in tensor["sizes"])


def _files(path: Path, *only: str) -> dict[str, bytes]:
    """Read files by name, without the archive's top-level folder. Raises ModelError."""
    with _opened(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        inner = [name.partition("/")[2] for name in names]
        if len(set(inner)) != len(inner):
            raise ModelError(f"{path} contains two files with the same name: it is not loaded.")
        try:
            return {i: archive.read(name) for i, name in zip(inner, names, strict=True) if not only or i in only}
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
            raise ModelError(f"{path} is damaged ({error}): copy or export it again.") from error


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}): copy or export it again.") from error


def _archive(files: dict[str, bytes]) -> io.BytesIO:
    """Write a new archive, so that what was checked is what is loaded, even where zip readers disagree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(f"model/{name}", content)
    buffer.seek(0)
    return buffer


def _json(path: Path, files: dict[str, bytes], name: str) -> Any:
    try:
        return json.loads(files[name])
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not an archive that this version can read: {name} is missing or is not JSON."
        ) from error


def _require_tensors(path: Path, config: Any) -> None:
    for entry in config["config"].values():
        name = entry["path_name"]
        raw = any(_TENSOR.fullmatch(folder + name) for folder in (_WEIGHTS, _CONSTANTS))
        if entry.get("use_pickle") or not raw:
            raise ModelError(f"{path} contains the pickle {name}: it is not loaded.")


def _sanitised(path: Path, program: Any) -> Any:
    """Remove guards (source code) and node metadata, and check every string. Raises ModelError."""
    program["guards_code"] = []
    graph = program["graph_module"]
    graph["module_call_graph"] = graph["module_call_graph"][:1]
    for node in graph["graph"]["nodes"]:
        node["metadata"] = {}
        if not _TARGET.fullmatch(node["target"]):
            raise ModelError(f"{path} calls {node['target']}: only ATen operations are run.")
    for key, text in _strings(program, ""):
        if not _is_harmless(key, text):
            raise ModelError(f"{path} contains {text[:80]!r}, which might be executed: it is not loaded.")
    return program


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every string with its key, and every key as a string without one."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)


def _is_harmless(key: str, text: str) -> bool:
    if key in ("in_spec", "out_spec"):
        return _is_plain_tree(text)
    if key == "expr_str":
        return _is_arithmetic(text)
    if key in ("as_string", "as_strings", "torch_version"):
        return bool(_LOOSE_WORD.fullmatch(text.replace("+", "")))
    return bool(_WORD.fullmatch(text)) or (key == "" and _is_arithmetic(text))


def _is_arithmetic(text: str) -> bool:
    """Whether sympy would evaluate nothing but arithmetic over sizes."""
    words = re.findall(r"\w+", text)
    return bool(_EXPRESSION.fullmatch(text)) and all(_EXPRESSION_WORDS.fullmatch(word) for word in words)


def _is_plain_tree(text: str) -> bool:
    """Whether a pytree consists of tuples, lists and dictionaries, and names nothing to import."""

    def plain(tree: Any) -> bool:
        known = tree["type"] in _TREES and bool(_KEYS.fullmatch(tree["context"] or "null"))
        return known and all(plain(child) for child in tree["children_spec"])

    try:
        protocol, tree = json.loads(text)
        return protocol == 1 and plain(tree)
    except (ValueError, KeyError, TypeError):
        return False
