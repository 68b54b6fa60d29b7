"""Build the acceptance cases beside the checkout (../shared/cases) for the web and run them in Node: how many give Paddle's numbers.

    python tools/run_cases_web.py [--suite control,api] [--dynamic] [--every N] [--jobs 2] [--variant simd128] [--work build/cases-web]

Each case is built and run in a process of its own.  Results are kept in WORK/results.json: a stopped run goes on where it was; delete
the file to start anew.  Exit status 1 when a case crashed or did not match for a reason that is not in tools/run_cases.py's EXPLAINED.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from node_runs import arrays, given, in_node  # noqa: E402
from run_cases import ROOT, arguments, attempt, end, results  # noqa: E402


def load(folder: str, variant: str) -> str:
    from oarlock.targets.web.site import build_site

    build_site(folder, f"{folder}/site", variants=[variant])
    return f"{folder}/site"


def run(site: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the model gives in Node, in the order of its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        (result,) = in_node(site, given(Path(folder), inputs))
    return arrays(result)


def main() -> None:
    parser = arguments(__doc__, "control", ROOT / "build/cases-web")
    parser.add_argument("--dynamic", action="store_true", help="only cases with dynamic dims")
    parser.add_argument("--variant", default="simd128")
    options = parser.parse_args()
    how = partial(attempt, load=partial(load, variant=options.variant), run=run)
    end(results(options, how, lambda case: case.meta["dynamic"] or not options.dynamic))


if __name__ == "__main__":
    main()
