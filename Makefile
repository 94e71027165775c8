# Sovrun: one plain Makefile. `make help` lists the targets.
#
# Everything but the three main.c goes into one archive; programs and tests take from it what they use. Which
# folder may include which is the business of tests/tidy/layers.txt. MODE picks flags and a build folder.

MODE    ?= release
DEPS    ?= 1
CUDA    ?= auto
STRICT  ?= 0
PYTHON  ?= /usr/bin/python3
CC      := gcc
VECTORS ?=

B := $(if $(filter release,$(MODE)),build,build/$(MODE))

PKGS    := libcurl openssl hiredis yaml-0.1 jansson libmicrohttpd expat libzstd
# Headers alone: an HSM's module is loaded at run time.
PKGS_H  := p11-kit-1
OPT_release := -O2 -D_FORTIFY_SOURCE=2
OPT_asan  := -O1 -fsanitize=address -fno-omit-frame-pointer
OPT_ubsan := -O1 -fsanitize=undefined -fno-sanitize-recover=all
OPT_tsan  := -O1 -fsanitize=thread
OPT_fuzz  := -O1 -fsanitize=fuzzer-no-link,address,undefined -DFUZZ_ENGINE
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
           -Wvla -Wundef -Wformat=2 $(if $(filter 1,$(STRICT)),-Werror)
# The loops of numbers are worth more of the compiler's time; it may not reorder a sum at any level.
OPT_KERNELS := $(if $(filter release,$(MODE)),-O3)
# No fused multiply-add behind our back: the same source gives the same bits on every x86-64.
FP      := -ffp-contract=off -fno-math-errno
CFLAGS  += -std=gnu11 -g $(OPT_$(MODE)) $(FP) $(WARN) -D_GNU_SOURCE -fstack-protector-strong -fPIE -pthread -I.
# Lazy, so that `make deps` works before they are there.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) $(PKGS_H) 2>/dev/null) $(shell mpicc --showme:compile 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(PKGS) 2>/dev/null) $(shell mpicc --showme:link 2>/dev/null) -ldl -lm $(CUDA_LIBS)
LDFLAGS += $(OPT_$(MODE)) -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed

# CUDA's kernels are built where nvcc is, but not under a sanitizer. The runtime is linked in and cuBLASLt loaded
# when a card is opened, so the programs start on a machine that has neither driver nor toolkit.
NVCC    := $(if $(filter 0,$(CUDA)),,$(if $(filter release,$(MODE)),$(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null))))
CUDA_HOME := $(if $(NVCC),$(abspath $(dir $(realpath $(NVCC)))/..))
# Code for A100 and H100; the first also as PTX, which a newer card's driver translates.
NV_ARCH := -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90a,code=sm_90a
# No fused multiply-add but where fmaf() is written, as on the CPU. Templates, but no exceptions and no run-time
# types: nothing of the C++ library is linked.
NVFLAGS = -std=c++17 -O3 -lineinfo -I. --fmad=false $(NV_ARCH) -Werror all-warnings -Xptxas -v \
           -Xcompiler -Wall,-Wextra,-O2,-fPIE,-fstack-protector-strong,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-D_GNU_SOURCE
CUDA_CFLAGS := $(if $(NVCC),-DSOVRUN_CUDA -isystem $(CUDA_HOME)/include)
CUDA_LIBS   := $(if $(NVCC),$(firstword $(wildcard $(CUDA_HOME)/lib64/libcudart_static.a $(CUDA_HOME)/lib/libcudart_static.a) -lcudart_static) -lrt)
CUDA_SRC    := $(if $(NVCC),$(wildcard kernels/cuda/*.cu))
# NCCL's header alone: the library is loaded when several ranks have cards.
NCCL_H  := $(if $(NVCC),$(firstword $(wildcard $(CUDA_HOME)/include/nccl.h /usr/include/nccl.h)))
NO_NCCL := $(if $(NCCL_H),,trainer/comm_nccl.c trainer/comm_nccl_load.c tests/mpi/test_nccl.c)
CUDA_CFLAGS += $(if $(NCCL_H),-DSOVRUN_NCCL)

SRCS    := $(wildcard base/*.c core/*/*.c kernels/*.c kernels/cpu/*.c $(if $(NVCC),kernels/cuda/*.c) trainer/*.c trainer/*/*.c scheduler/*.c runner/*.c runner/*/*.c)
MAINS   := trainer/main.c scheduler/main.c runner/main.c
CUDA_OBJ := $(patsubst %.cu,$(B)/obj/%.cu.o,$(CUDA_SRC))
LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(MAINS) $(NO_NCCL),$(SRCS))) $(CUDA_OBJ)
BINS    := $(B)/bin/sovrun $(B)/bin/sovrun-scheduler $(B)/bin/sovrun-trainer
TEST_SRC := $(wildcard tests/unit/test_*.c tests/contract/test_*.c tests/kernels/test_*.c tests/fuzz/fuzz_*.c tests/system/*.c tests/gpu/*.c)
TEST_AUX := $(wildcard tests/*.c tests/fake/*.c)
MPI_SRC := $(filter-out $(NO_NCCL),$(wildcard tests/mpi/test_*.c))
TESTS   := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SRC) $(MPI_SRC))
# The CUDA kernels as C++ on the host, thread after thread, under the same tests: tests/emulate/emulate.h.
EMULATED := $(patsubst kernels/cuda/%.cu,$(B)/obj/emulate/%.o,$(CUDA_SRC)) $(if $(NVCC),$(patsubst %,$(B)/obj/tests/emulate/%.o,emulate streams wgmma))
EMULATED_TESTS := $(if $(NVCC),$(patsubst tests/kernels/%.c,$(B)/tests/emulate/%,$(wildcard tests/kernels/test_*.c)))
# And NCCL's users under mpirun, over a stand-in for it: tests/emulate/nccl.c.
EMULATED_TESTS += $(if $(NCCL_H),$(B)/tests/emulate/mpi/test_nccl)

# A library that stands in for NVIDIA's of that name, and what older and odd ones lack: tests/nvml/standin.c.
STANDINS := $(patsubst %,$(B)/tests/nvml/%/libnvidia-ml.so.1,now old odd)

.PHONY: all help found gpu-report force deps deps-test build tests test bench bench-seal bench-scan bench-reduce bench-submit bench-store bench-gemm bench-train bench-jobs bench-instructions bench-gpu plot demo demo-gpt asan ubsan tsan lint format check fuzz clean
.DEFAULT_GOAL := all

all: found build ## build the three programs into build/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

found:
	@echo "sovrun: mode $(MODE), $$($(CC) --version | head -1), MPI: $$(mpicc --showme:version 2>/dev/null | head -1 || echo none)"
	@echo "sovrun: CUDA: $(if $(NVCC),$$($(NVCC) --version | sed -n 's/.*release \([^,]*\).*/\1/p'); kernels for sm_80 and sm_90a are compiled,$(if $(filter 0,$(CUDA)),off,$(if $(filter release,$(MODE)),no nvcc,off under a sanitizer)): building without; the CPU trains)"

deps: ## install what is missing to build and run (DEPS=0 skips)
	@DEPS=$(DEPS) tools/deps.sh run

deps-test: ## install what is missing to test as well
	@DEPS=$(DEPS) tools/deps.sh run test
	@DEPS=$(DEPS) PYTHON=$(PYTHON) tools/venv.sh

build: $(BINS)

$(B)/libsovrun.a: $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(B)/bin/sovrun: $(B)/obj/runner/main.o
$(B)/bin/sovrun-scheduler: $(B)/obj/scheduler/main.o
$(B)/bin/sovrun-trainer: $(B)/obj/trainer/main.o
$(BINS): $(B)/libsovrun.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libsovrun.a $(PKG_LIBS)

$(B)/obj/kernels/%.o: CFLAGS += $(OPT_KERNELS)
USES_CUDA := $(B)/obj/kernels/kernels.o $(B)/obj/trainer/comm_for_device.o
$(USES_CUDA) $(B)/obj/kernels/cuda/%.o $(B)/obj/trainer/comm_nccl%.o: CFLAGS += $(CUDA_CFLAGS)
# What lists them is compiled again where CUDA or NCCL has come or gone.
$(USES_CUDA): $(B)/obj/cuda.flags
$(B)/obj/cuda.flags: force
	@mkdir -p $(@D)
	@echo '$(CUDA_CFLAGS)' | cmp -s - $@ || echo '$(CUDA_CFLAGS)' >$@

# wgmma and TMA are of this architecture alone.
WGMMA_OBJ   := $(filter %_wgmma.cu.o %_wgmma_backward.cu.o,$(CUDA_OBJ))
WGMMA_CUBIN := $(WGMMA_OBJ:.cu.o=.cubin)
$(WGMMA_OBJ) $(WGMMA_CUBIN): NV_ARCH := -gencode arch=compute_90a,code=sm_90a
# What ptxas says of registers and spills stays beside the object, for `make gpu-report`.
$(B)/obj/%.cu.o: %.cu
	@mkdir -p $(@D)
	@echo "  NVCC  $<"
	@$(NVCC) $(NVFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $< >$(@:.o=.ptxas) 2>&1 || { cat $(@:.o=.ptxas); rm -f $@; exit 1; }
$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/%: $(B)/obj/tests/%.o $(patsubst %.c,$(B)/obj/%.o,$(TEST_AUX)) $(B)/libsovrun.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libsovrun.a $(PKG_LIBS) -lcmocka

$(B)/bench/%: $(B)/obj/bench/%.o $(B)/libsovrun.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libsovrun.a $(PKG_LIBS)

bench: bench-seal bench-scan bench-reduce bench-submit bench-store bench-gemm bench-train bench-jobs bench-instructions bench-gpu ## measure, each beside its peer in the same run

bench-seal: $(B)/bench/bench_seal ## sealing beside bare AES-256-GCM
	@$<

bench-scan: $(B)/bench/bench_scan ## the scan for personal data beside parsing and hashing
	@$<

bench-reduce: $(B)/bench/bench_reduce ## the exact sum beside MPI_Allreduce, 2 ranks
	@OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -np 2 --oversubscribe --bind-to none \
		--mca pml ob1 --mca btl self,vader $<

bench-submit: build $(B)/bench/mpi_init ## a job's start, idleness, submissions, a long queue, training
	@B=$(B) $(PYTHON) bench/bench_submit.py

bench-store: $(B)/bench/bench_store ## the S3 client beside curl and rclone, on RGW and nginx
	@DEPS=$(DEPS) tools/deps.sh bench
	@B=$(B) $(PYTHON) bench/bench_store.py

bench-gemm: $(B)/bench/bench_gemm ## matrix products beside oneDNN's and the processor's peak
	@for threads in 1 2; do $< $$threads || exit 1; done

bench-train: $(B)/bench/bench_gpt $(B)/bench/bench_gemm ## a GPT's step beside PyTorch's, where there is one
	@B=$(B) $(PYTHON) bench/bench_train.py

bench-gpu: $(B)/bench/bench_gpt $(B)/bench/bench_kernels ## on a card: a GPT's step beside PyTorch's and llm.c's, each kernel beside its floor
	@B=$(B) $(PYTHON) bench/bench_gpu.py || [ $$? = 3 ]

bench-instructions: $(B)/bench/bench_gpt ## instructions of a training step beside those on record (callgrind)
	@B=$(B) $(PYTHON) bench/bench_instructions.py

plot: ## docs/bench-train.svg from the table in docs/BENCHMARKS.md
	@$(PYTHON) bench/plot.py docs/BENCHMARKS.md docs/bench-train.svg

bench-jobs: build ## ranks against threads, and what checkpoints cost; BIG=1: a model of 124M parameters too
	@B=$(B) $(PYTHON) bench/bench_jobs.py

tests: build $(TESTS) $(STANDINS) $(EMULATED_TESTS) ## build the tests

test: deps-test found ## unit, contract (Redis, RGW), kernels and system tests
	@$(MAKE) --no-print-directory DEPS=0 tests
	@CUDA=$(if $(NVCC),compiled,none) VECTORS=$(VECTORS) B=$(B) PYTHON=$(PYTHON) tests/run.sh all

asan ubsan: ## unit and contract tests under a sanitizer
	@$(MAKE) --no-print-directory MODE=$@ DEPS=0 tests
	@VECTORS=$(VECTORS) B=build/$@ PYTHON=$(PYTHON) tests/run.sh fast

tsan: ## the tests that use threads, under the thread sanitizer
	@$(MAKE) --no-print-directory MODE=tsan DEPS=0 tests
	@VECTORS=$(VECTORS) B=build/tsan PYTHON=$(PYTHON) tests/run.sh threads

demo: deps ## train on real data, kill a rank, resume, get the same model
	@$(MAKE) --no-print-directory DEPS=0 all
	@PYTHON=$(PYTHON) $(PYTHON) configs/demo/demo.py

demo-gpt: ## train a small GPT on a real text, and get the same bits by five ways
	@DEPS=$(DEPS) tools/deps.sh run text
	@$(MAKE) --no-print-directory DEPS=0 all
	@PYTHON=$(PYTHON) $(PYTHON) configs/demo/demo_gpt.py

# The same code as in the object, by itself, for what reads instructions.
$(B)/obj/%.cubin: %.cu $(B)/obj/%.cu.o
	@$(NVCC) $(NVFLAGS) -cubin -o $@ $< >$@.log 2>&1 || { cat $@.log; rm -f $@; exit 1; }

NVDISASM = $(firstword $(wildcard build/venv/lib/python3*/site-packages/nvidia/*/bin/nvdisasm) $(shell command -v nvdisasm 2>/dev/null))
gpu-report: $(CUDA_OBJ) $(WGMMA_CUBIN) ## registers, shared memory and spills of each CUDA kernel, as the compiler says
	@$(if $(NVCC),tools/ptxas.sh $(CUDA_OBJ:.o=.ptxas),echo "CUDA: not compiled (no nvcc)")
	@$(if $(WGMMA_CUBIN),$(if $(NVDISASM),$(PYTHON) tools/sass.py $(NVDISASM) $(WGMMA_CUBIN),echo "instructions of products: not looked at: no nvdisasm (make deps-test installs it)"))

EMULATE_FLAGS := -std=c++17 -O2 -g -Wno-psabi -fno-strict-aliasing $(FP) -Wall -Wextra -Wno-unused-function -Wno-unknown-pragmas -D_GNU_SOURCE -fPIE -fno-exceptions -fno-rtti -I.
$(B)/obj/emulate/%.cpp: kernels/cuda/%.cu $(wildcard kernels/cuda/*.h) tests/emulate/emulate.py
	@mkdir -p $(@D)
	@$(PYTHON) tests/emulate/emulate.py $< >$@ || { rm -f $@; exit 1; }
$(B)/obj/emulate/%.o: $(B)/obj/emulate/%.cpp
	@echo "  C++   $<"
	@$(CXX) $(EMULATE_FLAGS) $(CUDA_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/obj/tests/emulate/%.o: tests/emulate/%.cpp
	@mkdir -p $(@D)
	@echo "  C++   $<"
	@$(CXX) $(EMULATE_FLAGS) $(CUDA_CFLAGS) -MMD -MP -c -o $@ $<
# -rdynamic: the stand-in for NCCL puts its work on the program's emulated streams.
EMULATED_LINK = $(CXX) $(LDFLAGS) -rdynamic -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/lib:$$ORIGIN/../lib' \
	-o $@ $(filter %.o,$^) $(B)/libsovrun.a $(PKG_LIBS) -lcmocka
$(B)/tests/emulate/mpi/%: $(B)/obj/tests/mpi/%.o $(EMULATED) $(B)/libsovrun.a | $(B)/tests/emulate/lib/libcublasLt $(B)/tests/emulate/lib/libnccl.so.2
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(EMULATED_LINK)
$(B)/tests/emulate/%: $(B)/obj/tests/kernels/%.o $(EMULATED) $(B)/libsovrun.a | $(B)/tests/emulate/lib/libcublasLt
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(EMULATED_LINK)
$(B)/tests/emulate/lib/libnccl.so.2: tests/emulate/nccl.c tests/emulate/streams.h
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(filter-out -fPIE,$(CFLAGS)) $(CUDA_CFLAGS) $(PKG_CFLAGS) -fPIC -shared -o $@ $<
$(B)/tests/emulate/lib/libcublasLt: tests/emulate/blas.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(filter-out -fPIE,$(CFLAGS)) $(CUDA_CFLAGS) -fPIC -shared -o $@ $<
	@ln -sf $(@F) $@.so.$$(sed -n 's/^#define CUBLAS_VER_MAJOR *//p' $(CUDA_HOME)/include/cublas_api.h $(CUDA_HOME)/include/cublasLt.h | head -1)

$(B)/tests/nvml/old/%: CFLAGS += -DSTANDIN_OLD
$(B)/tests/nvml/odd/%: CFLAGS += -DSTANDIN_ODD
$(STANDINS): tests/nvml/standin.c core/gpu/nvml.h
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(filter-out -fPIE,$(CFLAGS)) -fPIC -shared -Wl,-soname,$(@F) -o $@ $<

lint: ## warnings of gcc and clang, cppcheck, clang-tidy, shellcheck, tidy
	@PKG_CFLAGS="$(PKG_CFLAGS)" CUDA_CFLAGS="$(CUDA_CFLAGS)" tools/lint.sh

format: ## clang-format in place
	@git ls-files '*.c' '*.h' | xargs clang-format -i

check: ## what CI runs: everything
	@$(MAKE) --no-print-directory deps-test
	@$(MAKE) --no-print-directory DEPS=0 lint
	@$(MAKE) --no-print-directory DEPS=0 STRICT=1 test
	@$(MAKE) --no-print-directory DEPS=0 gpu-report
	@$(MAKE) --no-print-directory DEPS=0 asan
	@$(MAKE) --no-print-directory DEPS=0 ubsan
	@$(MAKE) --no-print-directory DEPS=0 tsan

T    ?= conf
SECS ?= 60
fuzz: ## look for new inputs: make fuzz T=conf SECS=60 (clang; finds go to build/fuzz/found)
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang DEPS=0 build/fuzz/fuzz_$(T)
	@mkdir -p build/fuzz/found/$(T)
	@build/fuzz/fuzz_$(T) -max_total_time=$(SECS) -artifact_prefix=build/fuzz/found/ build/fuzz/found/$(T) tests/fuzz/corpus/$(T)

build/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/libsovrun.a
	@$(CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $< $(B)/libsovrun.a $(PKG_LIBS)

clean: ## remove build/
	rm -rf build

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
