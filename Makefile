# SPDX-License-Identifier: GPL-2.0
#
# Verbs for people. What kbuild reads is the Kbuild file beside this one.

# The kernel to build against: debug, fast, uml, stock, or the folder of a built one.
KDIR ?=
KERNEL ?= debug
ENGINE ?=
TESTS ?=
RACE ?=
FOR ?=
SEED ?=
REPLAY ?=
OPS ?=
kernel := $(or $(KDIR),$(KERNEL))
venv := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rext4/venv/bin
lab := $(if $(LAB),--lab)
# What runs in a VM has a kernel of its own, unless one is named.
named := $(if $(filter file,$(origin KERNEL)),,$(if $(KERNEL),--kernel $(KERNEL)))
verbs := help setup module run check shell xfstests pjdfstest ltp bench lab model explore crash soak coverage fmt lint clippy dist deb clean

# What a verb takes. All else is refused: it would be passed over in silence.
takes-module := KDIR KERNEL LAB
takes-clippy := KDIR KERNEL LAB
takes-run := KERNEL ENGINE
takes-shell := KERNEL ENGINE
takes-check := KERNEL
takes-bench := KERNEL
takes-lab := KERNEL ENGINE RACE
takes-soak := KERNEL ENGINE FOR
takes-xfstests := KERNEL ENGINE TESTS LAB
takes-pjdfstest := KERNEL ENGINE TESTS
takes-ltp := KERNEL ENGINE TESTS
takes-coverage := TESTS
takes-model := FOR SEED REPLAY
takes-explore := FOR SEED REPLAY OPS NOISE NOTE
takes-crash := FOR SEED REPLAY OPS EACH
words := KDIR KERNEL ENGINE TESTS RACE FOR SEED REPLAY OPS LAB NOISE NOTE EACH
given := $(foreach word,$(words),$(if $(findstring command,$(origin $(word))),$(word)))
is-ENGINE := qemu uml
is-KERNEL := debug fast uml stock
engine := $(if $(filter uml,$(KERNEL)),uml,qemu)
together := $(if $(and $(ENGINE),$(named)),$(filter $(ENGINE),$(engine)),1)

ifneq ($(KDIR),)
.DEFAULT_GOAL := module
else
.DEFAULT_GOAL := help
endif
.PHONY: $(verbs)
refuse = $(foreach word,$(filter-out $(takes-$(1)),$(given)),$(error make $(1) takes no $(word))) \
	$(foreach word,$(filter ENGINE KERNEL,$(takes-$(1))), \
		$(if $(filter-out $(is-$(word)),$($(word))), \
		$(error $(word) is one of $(is-$(word)), not $($(word))))) \
	$(if $(filter ENGINE,$(takes-$(1))),$(if $(together),, \
		$(error the kernel $(KERNEL) does not go with ENGINE=$(ENGINE))))
$(foreach verb,$(or $(MAKECMDGOALS),$(.DEFAULT_GOAL)),$(call refuse,$(verb)))

help:
	@echo 'make run        sets everything up, boots a VM and shows the main job'
	@echo 'make check      runs all tests (KERNEL=debug|uml|stock: those on that kernel)'
	@echo 'make shell      opens a VM with rext4 mounted on /mnt (ENGINE=uml|qemu)'
	@echo 'make module     builds rext4.ko against the cached debug kernel'
	@echo '                (KERNEL=debug|fast|uml|stock, or KDIR=/path/to/kernel; LAB=1)'
	@echo 'make xfstests   runs an installed xfstests in the VM (TESTS="generic/001 ...";'
	@echo '                our own tests: TESTS="rext4/001 ...", or LAB=1 for all of them)'
	@echo 'make pjdfstest  runs an installed pjdfstest in the VM; make ltp those of LTP that'
	@echo '                touch files (TESTS="syscalls/open*")'
	@echo 'make bench      compares rext4 with the kernel'"'"'s ext4, on Debian'"'"'s kernel (KERNEL=fast)'
	@echo 'make lab        runs the races with their protection off and on (RACE=n)'
	@echo 'make model      random histories against a model and ext4 (FOR=seconds, SEED=n,'
	@echo '                REPLAY=n or file)'
	@echo 'make explore    small programs in every order that the lab can make (FOR=seconds,'
	@echo '                SEED=n, OPS=words, REPLAY=schedule, NOISE=1, NOTE=1)'
	@echo 'make crash      disks that a power cut may leave, and what is there after recovery'
	@echo '                (FOR=seconds, SEED=n, OPS=append,punch, REPLAY=4k:append+fsync, EACH=1)'
	@echo 'make soak       direct I/O under load with dio_gate, for an hour (FOR=seconds)'
	@echo 'make coverage   which lines of the module the guest tests run (TESTS="dio/ trunc/")'
	@echo 'make setup      gets what this machine lacks, and nothing else'
	@echo 'make fmt        formats the code; make clippy lints the Rust code'
	@echo 'make lint       all lints: rustfmt, clippy, ruff, mypy, shellcheck'
	@echo 'make dist       makes the tarball of a release; make deb the packages for Debian'
	@echo 'make clean      removes what was built here, not the cache'
	@echo 'make KDIR=/path is make module against that kernel'

setup:
	@scripts/setup

module:
	@$(if $(KDIR),,scripts/setup --host &&) scripts/module $(lab) $(kernel)

run:
	@scripts/run $(named) $(ENGINE)

# These programs are in Python, which a new machine may lack.
check bench lab soak: .python
.PHONY: .python
.python:
	@command -v python3 >/dev/null || scripts/setup --python

check:
	@scripts/check $(named)

shell:
	@scripts/shell $(named) $(ENGINE)

# Our own tests need a module with the lab.
xfstests pjdfstest ltp: on := $(if $(filter qemu,$(ENGINE))$(filter debug fast stock,$(named)),qemu,uml)
xfstests pjdfstest ltp: with := $(if $(filter qemu,$(on)),$(KERNEL),uml)
xfstests:
	@scripts/setup
ifneq ($(LAB)$(findstring rext4/,$(TESTS)),)
	@scripts/xfstests --lab --engine $(on) --kernel $(with) $(TESTS)
else
	@ko=$$(scripts/module $(with)) && \
		scripts/xfstests --module "$$ko" --engine $(on) --kernel $(with) $(TESTS)
endif

pjdfstest ltp:
	@scripts/setup
	@ko=$$(scripts/module $(with)) && \
		scripts/$@ --module "$$ko" --engine $(on) --kernel $(with) $(TESTS)

bench:
	@scripts/bench $(named)

lab:
	@scripts/lab $(if $(ENGINE),--engine $(ENGINE)) $(named) $(RACE)

model:
	@scripts/model $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) \
		$(if $(REPLAY),--replay $(REPLAY))

explore:
	@scripts/explore $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) \
		$(if $(OPS),--ops $(OPS)) $(if $(REPLAY),--replay '$(REPLAY)') \
		$(if $(NOISE),--noise) $(if $(NOTE),--note)

crash:
	@scripts/crash $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) $(if $(EACH),--each) \
		$(if $(OPS),--ops $(OPS)) $(if $(REPLAY),--replay '$(REPLAY)')

coverage:
	@scripts/setup
	@scripts/coverage $(TESTS)

soak:
	@scripts/soak $(if $(ENGINE),--engine $(ENGINE)) $(named) $(FOR)

fmt:
	@find rust samples -name '*.rs' -exec rustfmt --edition 2021 --config-path . {} +
	@cd tests && cargo fmt --all
	@$(venv)/ruff format -q --config scripts/pyproject.toml scripts tests

lint:
	@scripts/setup --host
	@scripts/lint

clippy:
	@scripts/module $(lab) --clippy $(kernel) >/dev/null
	@cd tests && cargo clippy -q --workspace --all-targets -- -D warnings

# What a release is packed with.
dist deb:
	@scripts/setup --release
	@scripts/$@

clean:
	@rm -rf build tests/target
