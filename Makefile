# SPDX-License-Identifier: GPL-2.0

PREFIX ?= /usr/local

# For make demo, make stress and make crash
FS ?= xfs
# For make stress and make crash
CONFIG ?= release
DURATION ?= 10m
SEED ?= 1
COUNT ?= 100
# For make fuzz
SECONDS ?= 60

.PHONY: all help demo test test-all stress crash regress mutants coverage bench bench-scan fuzz check-kernel lint install uninstall clean
all:
	@scripts/setup tool
	$(MAKE) -C tools/refalias

help:
	@echo 'make               build the tool, tools/refalias'
	@echo 'make install       install it (PREFIX=$(PREFIX), DESTDIR=)'
	@echo 'make uninstall     remove it again'
	@echo 'make demo          two containers with one page cache, in a virtual machine'
	@echo '                   (FS=$(FS) or btrfs, SERIES=6.1: on Linux 6.1)'
	@echo 'make test          everything that has to pass, with its own set-up'
	@echo 'make test-all      the same in all combinations of series, file systems and'
	@echo '                   configurations, which takes hours'
	@echo 'make stress        random operations by many processes, against a model'
	@echo '                   (CONFIG=$(CONFIG) or debug, kcsan; FS=$(FS) or btrfs;'
	@echo '                   DURATION=$(DURATION), SEED=$(SEED))'
	@echo 'make crash         shut down or reset under load, check what is left; goes on'
	@echo '                   where it ended (COUNT=$(COUNT), CONFIG=$(CONFIG) or debug,'
	@echo '                   FS=$(FS) or btrfs, SEED=$(SEED))'
	@echo 'make check-kernel  the slow checks of the patches: other architectures,'
	@echo '                   modules, sparse, documentation, a Debian package, memory leaks'
	@echo 'make regress       other tests on the unpatched and the patched kernel, compared'
	@echo 'make mutants       do the tests notice when a piece of the patches is missing?'
	@echo '                   (ONLY="name ...": these; LIST=1: which there are, and where)'
	@echo 'make coverage      which lines of the new kernel code do the tests execute?'
	@echo 'make bench         what sharing brings and what it costs, in bytes and instructions;'
	@echo '                   writes docs/benchmarks.md (PARTS="part ...": these only;'
	@echo '                   PAIR=redis: the memory of this pair of images only)'
	@echo 'make bench-scan    how fast the tool finds identical files, beside its peers'
	@echo 'make fuzz          feed what reads files of the tool or of engines with odd bytes'
	@echo '                   (SECONDS=$(SECONDS) for each of the three)'
	@echo 'make lint          static checks of scripts and C files'
	@echo 'make clean         remove what was built here'
	@echo
	@echo 'Kernels are built and kept outside of this directory: see scripts/kernel --help.'

demo:
	@scripts/demo $(if $(SERIES),--series '$(SERIES)') --fs '$(FS)'

test:
	@scripts/test

test-all:
	@scripts/test --all

stress:
	scripts/stress --config '$(CONFIG)' --fs '$(FS)' --duration '$(DURATION)' --seed '$(SEED)'

crash:
	scripts/crash --config '$(CONFIG)' --fs '$(FS)' --count '$(COUNT)' --seed '$(SEED)'

check-kernel:
	scripts/kernel check
	scripts/kselftest --config kmemleak

regress:
	@scripts/regress

mutants:
	@scripts/run-mutants $(if $(LIST),--list) $(ONLY)

coverage:
	@scripts/coverage

bench:
	@scripts/bench $(if $(PAIR),--pair '$(PAIR)') $(PARTS)

bench-scan:
	@scripts/bench-scan

fuzz:
	@scripts/setup tool
	@tools/refalias/tests/fuzz --seconds '$(SECONDS)'

lint:
	scripts/lint

install uninstall:
	$(MAKE) -C tools/refalias $@ PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'

clean:
	$(MAKE) -C tools/refalias clean
	rm -rf build
