"""Make src/oarlock/model/signatures.json from the headers of an installed paddlepaddle: the names and order of every PIR
operator's operands, attributes (with the defaults that the C++ builder declares, and the kinds that files store them as) and results.

    python tools/gen_signatures.py            (needs paddlepaddle; run once for a Paddle release)
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

HEADER = "include/paddle/fluid/pir/dialect/operator/ir/pd_op.h"
API = ("api.h", "fused_api.h")  # which vectors of int64 are IntArrays and which numbers are Scalars only Paddle's C++ API tells
# C++ type of a builder's argument → how a file stores the attribute; a vector of int64 may also be an intarray, a number a scalar
KINDS = {
    "bool": "bool", "int": "i32", "int64_t": "i64", "float": "f32", "double": "f64", "const std::string&": "str",
    "const phi::DataType&": "dtype", "phi::DataType": "dtype", "const phi::Place&": "place", "const std::vector<int>&": "i32[]",
    "const std::vector<int64_t>&": "i64[]", "const std::vector<float>&": "f32[]", "const std::vector<double>&": "f64[]",
    "const std::vector<std::string>&": "str[]", "const std::vector<bool>&": "bool[]", "std::vector<phi::Scalar>": "scalar[]",
    "const std::vector<phi::Scalar>&": "scalar[]",
}  # fmt: skip
# vectors of int64 and numbers of operators that the API does not have, as Paddle writes them
BY_HAND = {("full_int_array", "value"): "i64[]", ("data", "shape"): "intarray"}
OUT = Path(__file__).parents[1] / "src/oarlock/model/signatures.json"


def split_arguments(text: str) -> list[str]:
    out, depth, current = [], 0, ""
    for c in text:
        depth += c in "<({"
        depth -= c in ">)}"
        if c == "," and depth == 0:
            out.append(current.strip())
            current = ""
        else:
            current += c
    return [*out, current.strip()] if current.strip() else out


def default(text: str) -> Any:
    """A C++ default argument as a JSON value."""
    text = text.strip()
    if text.startswith("phi::DataType::"):
        return text.rsplit(":", 1)[1].lower()
    if text.startswith("phi::"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return text.strip('"')
    if text.startswith(("std::vector", "{")):
        body = text[text.index("{") + 1 : text.rindex("}")] if "{" in text else ""
        return [default(t) for t in split_arguments(body)]
    number = re.fullmatch(r"(-?[\d.]+(?:[eE][-+]?\d+)?)[fLl]?", text)
    if number:
        value = number[1]
        return float(value) if any(c in value for c in ".eE") else int(value)
    return None


def api_kinds(folder: Path) -> dict[tuple[str, str], str]:
    """(operator, attribute) → intarray or scalar, of the functions of the C++ API."""
    out: dict[tuple[str, str], str] = {}
    for file in API:
        for name, arguments in re.findall(r"^PADDLE_API .*?(\w+)\((.*)\);$", (folder / file).read_text(), re.MULTILINE):
            for argument in split_arguments(arguments):
                declared, _, attribute = argument.partition("=")[0].strip().rpartition(" ")
                if declared in ("const IntArray&", "const Scalar&"):
                    out[name, attribute] = "intarray" if "IntArray" in declared else "scalar"
    return out


def parse(header: str, of_api: dict[tuple[str, str], str]) -> dict[str, dict]:
    header = re.sub(r"\((\d+) << (\d+)\) - (\d+)", lambda m: str((int(m[1]) << int(m[2])) - int(m[3])), header)
    table: dict[str, dict] = {}
    for body in re.split(r"\nclass\s+(?:IR_API\s+|TEST_API\s+)?(?=\w+Op )", header)[1:]:
        name = re.search(r'static const char \*name\(\) \{ return "([\w.]+)"; \}', body)
        if not name:
            continue
        operands = re.findall(r"pir::Value (\w+)\(\) \{ return operand_source\((\d+)\); \}", body)
        results = re.findall(r"pir::Value (\w+)\(\) \{ return result\((\d+)\); \}", body)
        short = name[1].split(".", 1)[1].rstrip("_")
        attrs: dict[str, Any] = {}
        kinds: dict[str, str] = {}
        required: list[str] = []
        build = re.search(r"static void Build\(pir::Builder &builder, pir::OperationArgument &argument(.*?)\);\n", body)
        names = {n for n, _ in operands}
        mutable = []
        for argument in split_arguments(build[1].lstrip(", ")) if build else []:
            decl, _, value = argument.partition("=")
            argument_type, _, argument_name = decl.strip().rpartition(" ")
            if "pir::Value" in argument_type or "AttributeMap" in argument_type or "pir::Region" in argument_type:
                continue
            if argument_name in names:
                mutable.append(argument_name)
            elif kind := KINDS.get(argument_type):
                told = BY_HAND.get((short, argument_name)) or of_api.get((short, argument_name)) or of_api.get((f"{short}_", argument_name))
                kinds[argument_name] = told or kind
            if value:
                attrs[argument_name] = default(value)
            elif argument_name not in names:
                required.append(argument_name)
        entry: dict[str, Any] = {"operands": [n for n, _ in sorted(operands, key=lambda p: int(p[1]))]}
        entry["results"] = [n for n, _ in sorted(results, key=lambda p: int(p[1]))]
        if mutable:
            entry["mutable"] = mutable  # operands that are attributes in the API: shapes, axes, scalars
        if attrs:
            entry["defaults"] = attrs
        if required:
            entry["required"] = required
        if kinds:
            entry["kinds"] = kinds
        table[name[1]] = entry
    return table


def main() -> None:
    distribution = importlib.metadata.distribution("paddlepaddle")
    paddle = Path(str(distribution.locate_file("paddle")))
    of_api = api_kinds(paddle / "include/paddle/phi/api/include")
    table = {
        n: e
        for n, e in parse((paddle / HEADER).read_text(), of_api).items()
        if not n.endswith(("_grad", "_grad_", "_double_grad", "_triple_grad"))
    }
    lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(e)}" for n, e in sorted(table.items()))
    OUT.write_text(f'{{"paddle": {json.dumps(distribution.version)}, "operators": {{\n{lines}\n}}}}\n')
    print(f"{len(table)} operators -> {OUT}")


if __name__ == "__main__":
    main()
