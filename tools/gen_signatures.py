"""Make src/oarlock/model/signatures.json from the headers of an installed paddlepaddle: the names and order of every PIR
operator's operands, attributes (with the defaults that the C++ builder declares) and results.

    python tools/gen_signatures.py            (needs paddlepaddle; run once for a Paddle release)
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

HEADER = "include/paddle/fluid/pir/dialect/operator/ir/pd_op.h"
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


def parse(header: str) -> dict[str, dict]:
    table: dict[str, dict] = {}
    for body in re.split(r"\nclass\s+(?:IR_API\s+|TEST_API\s+)?(?=\w+Op )", header)[1:]:
        name = re.search(r'static const char \*name\(\) \{ return "([\w.]+)"; \}', body)
        if not name:
            continue
        operands = re.findall(r"pir::Value (\w+)\(\) \{ return operand_source\((\d+)\); \}", body)
        results = re.findall(r"pir::Value (\w+)\(\) \{ return result\((\d+)\); \}", body)
        attrs: dict[str, Any] = {}
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
        table[name[1]] = entry
    return table


def main() -> None:
    distribution = importlib.metadata.distribution("paddlepaddle")
    header = Path(str(distribution.locate_file("paddle"))) / HEADER
    table = {n: e for n, e in parse(header.read_text()).items() if not n.endswith(("_grad", "_grad_", "_double_grad", "_triple_grad"))}
    lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(e)}" for n, e in sorted(table.items()))
    OUT.write_text(f'{{"paddle": {json.dumps(distribution.version)}, "operators": {{\n{lines}\n}}}}\n')
    print(f"{len(table)} operators -> {OUT}")


if __name__ == "__main__":
    main()
