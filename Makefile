# SPDX-License-Identifier: MIT
# The face of the project; Meson and Ninja do the work.

BUILD ?= build
PREFIX ?= /usr/local
# Given to `vireo run`: make run ARGS="--vmm qemu"
ARGS ?=
FUZZ_SECONDS ?= 60
# Deaths of a daemon in each of five cases; under a guest an eighth of it.
KILLS ?= 200

MESON = meson
NINJA = ninja

.PHONY: all programs run test cross size soak zoned bench fuzz install clean help FORCE

all: $(BUILD)/build.ninja
	@$(NINJA) -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v $(MESON) $(NINJA) >/dev/null || { \
		echo "make: Meson and Ninja are missing: run scripts/setup"; \
		exit 1; }
	@echo "$(MESON) setup --prefix $(PREFIX) $(BUILD)"; \
	out=$$($(MESON) setup --prefix $(PREFIX) $(BUILD) 2>&1) || \
		{ echo "$$out"; exit 1; }

programs: $(BUILD)/build.ninja
	@$(NINJA) --quiet -C $(BUILD) programs

run:
	@scripts/setup run
	@$(MAKE) --no-print-directory programs
	@$(BUILD)/bin/vireo run $(ARGS)

test:
	@scripts/setup test
	@scripts/test $(ARGS)

# The core and its tests on every machine there is an emulator for.
cross:
	@scripts/setup cross
	@scripts/test s390x aarch64 riscv64 arm text-size

size:
	@scripts/text-size $(ARGS)

soak: all
	@scripts/setup test
	VIREO_ALL=1 scripts/test asan s390x
	VIREO_KILLS=$(KILLS) $(BUILD)/test/t-host-crash
	VIREO_KILLS=$$(($(KILLS) / 8)) \
		python3 test/system/blk_survives.py $(BUILD)/bin outlives
	VIREO_ALL=1 python3 test/system/run_kvm.py $(BUILD)/bin
	python3 test/system/systemd.py $(BUILD)/bin
	VIREO_ALL=1 python3 test/system/blk_guest.py $(BUILD)/bin qemu
	VIREO_ALL=1 python3 test/system/iommu.py $(BUILD)/bin strict
	VIREO_ALL=1 python3 test/system/iommu.py $(BUILD)/bin network
	VIREO_ALL=1 python3 test/system/migrate.py $(BUILD)/bin before
	VIREO_ALL=1 python3 test/system/run_net.py $(BUILD)/bin ipv6
	VIREO_ALL=1 python3 test/system/run_net.py $(BUILD)/bin killed
	VIREO_ALL=1 python3 test/system/net_guest.py $(BUILD)/bin
	VIREO_ALL=1 VIREO_STATES=20 \
		python3 test/system/durability.py $(BUILD)/bin

# Zoned disks under a kernel that knows them; fetches one (34 MB).
zoned: all
	@scripts/setup zoned
	python3 test/system/zoned.py $(BUILD)/bin

bench:
	@scripts/setup bench
	@$(MAKE) --no-print-directory all
	bench/run $(ARGS)
	bench/run --net
	bench/run --guests --rounds 2
	bench/run --rings
	bench/run --vmm
	bench/instructions

fuzz:
	@scripts/setup test
	@scripts/fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

install: all
	$(MESON) install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-*

help:
	@echo "make           build everything into $(BUILD)/"
	@echo "make run       set up, build, boot a Linux guest on Vireo devices"
	@echo "make test      set up, run every test and check"
	@echo "make cross     the core's tests on four other machines, emulated"
	@echo "make size      the core's size in bytes, by what one uses of it"
	@echo "make soak      kill vireo-blk under load, KILLS ($(KILLS)) times a case;"
	@echo "               all guests of a KVM that QEMU emulates"
	@echo "make zoned     zoned disks under Linux 6.12, libzbd, fio and btrfs"
	@echo "make bench     set up, run the benchmarks (about 20 minutes)"
	@echo "make fuzz      fuzz each target for FUZZ_SECONDS ($(FUZZ_SECONDS))"
	@echo "make install   into PREFIX ($(PREFIX)); DESTDIR is honoured"
	@echo "make clean     remove what was built"
	@echo "ARGS=... goes to the program behind run, test, bench and fuzz."
