# Every target sets up what it needs: a virtual environment in .venv, the packages, the C++ library.

PYTHON ?= python3
TORCH ?= torch==2.14.1 torchvision==0.29.1
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages
LIBRARY := spcolor_ops/_C_cpu.abi3.so
CUDA_LIBRARY := spcolor_ops/_C_cuda.abi3.so
CPU_SOURCES := $(shell find csrc -type f -not -path 'csrc/cuda/*')
CUDA_SOURCES := $(shell find csrc -type f -not -path 'csrc/cpu/*')
CPP := $(shell find csrc tests -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.cuh' -o -name '*.inl')
SANITIZED := build/sanitized

.PHONY: demo test test-sanitize lint format bench cuda quality clean

demo: $(LIBRARY)
	$(BIN)/spcolor demo -o out

test: $(LIBRARY)
	$(BIN)/pytest

lint: $(PACKAGES)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(PACKAGES)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CPP)

bench: $(LIBRARY)
	$(BIN)/python -m benchmarks

# The CUDA library; a machine without a GPU can build it too.
cuda: $(CUDA_LIBRARY)

quality: $(LIBRARY)
	$(BIN)/python -m spcolor_model.data.packaged
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.robustness

# What the compilers made of every GPU kernel; needs no GPU, but minutes for each architecture:
# make gpu-report REPORT="--arch 90 --backend triton" does a part.
.PHONY: gpu-report
gpu-report: $(PACKAGES)
	$(BIN)/python -m benchmarks.gpu_report $(REPORT)

# Every operator test through the interpreter of Triton, which is slow.
.PHONY: test-triton
test-triton: $(LIBRARY)
	SPCOLOR_TEST_BACKENDS=triton $(BIN)/pytest --ignore-glob='tests/test_model*' --ignore=tests/test_cli.py

# On a machine with a GPU, the only ones that need it. BIN=/usr/bin or the like sets nothing up and
# runs what is installed there.
ON_GPU := $(if $(filter $(VENV)/bin,$(BIN)),$(LIBRARY))
.PHONY: test-gpu bench-gpu

test-gpu: $(ON_GPU)
	PYTHONPATH=. $(BIN)/python3 tests/gpu

bench-gpu: $(ON_GPU)
	PYTHONPATH=. $(BIN)/python3 -m benchmarks.gpu

# The operator tests against a library built with the address and undefined-behaviour sanitizers.
test-sanitize: $(PACKAGES) $(CPU_SOURCES)
	SPCOLOR_CUDA=0 SPCOLOR_SANITIZE=1 $(BIN)/python setup.py -q build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(SANITIZED)/lib \
	$(BIN)/pytest --ignore-glob='tests/test_model*' --ignore=tests/test_cli.py

# The page in a real browser: Debian's chromium, or the one that `playwright install chromium` gets.
.PHONY: test-page
test-page: $(LIBRARY)
	$(BIN)/pip install -q "playwright>=1.50"
	$(BIN)/pytest tests/browser/page.py

clean:
	rm -rf build out $(LIBRARY) $(CUDA_LIBRARY)

$(PACKAGES): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(TORCH) "setuptools>=77" ninja
	SPCOLOR_NO_EXTENSION=1 $(BIN)/pip install -q --no-build-isolation -e ".[model,train,prepare,evaluate,web,bench,test,dev]"
	touch $@

$(LIBRARY): $(PACKAGES) $(CPU_SOURCES)
	SPCOLOR_CUDA=0 $(BIN)/python setup.py -q build_ext --inplace
	touch $@

# For the GPUs of TORCH_CUDA_ARCH_LIST, or all that are supported where there is none: minutes each.
$(CUDA_LIBRARY): $(PACKAGES) $(CUDA_SOURCES)
	SPCOLOR_WERROR=1 $(BIN)/python setup.py -q build_ext --inplace
	touch $@
