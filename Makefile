# siamplex: `make help` explains the targets and variables.

PYTHON  ?= python3
VENV    ?= .venv
TORCH   ?= torch==2.13.0
OUT     ?= run
FACES   ?=
ENGINE  ?= torch
DEVICE  ?= cpu
LAYOUT  ?= indexed
ALEXNET ?= weights/bvlc_alexnet.caffemodel
SUBSTITUTE ?=
OTHER_WEIGHTS ?=
URLS    ?=
SEED    ?= 1
HUMAN   ?=
PROCESSES ?= 1
SEEDS   ?= 5
GRID    ?=
CELLS   ?=
HOURS   ?=

# what a run computes: the paper's settings
ACTORS      ?= 43
SIZE        ?= 227
WIDTH       ?= 1
SCALE       ?= 1/256
BATCH       ?= 256
STAGE2_BATCH ?= 256
NEW_LR_MULT ?= 1
BASE_LR     ?= 0.0001
ITERATIONS  ?= 5000
STAGE2_ITERATIONS ?= $(ITERATIONS)
STAGE2_BASE_LR    ?= $(BASE_LR)
DISPLAY     ?= 20
SNAPSHOT    ?= 1000
SHOWN       ?= 2000 3000 4000 5000
TEST_INTERVAL ?= 250
EARLY_STOP  ?=
OVERWRITE   ?=
PATIENCE    ?= 4
INDEX_FLAGS ?=
PAIRS_FLAGS ?=
NETS_FLAGS  ?=
TRAIN_FLAGS ?=
REPORT_FLAGS ?=

# names of folders and files reach the shell as they are, whatever is in them: $(O)/pairs is 'my run'/pairs
q      = '$(subst ','\'',$(1))'
O     := $(call q,$(OUT))
V     := $(call q,$(VENV))
S     := $(V)/bin/siamplex
STAMPS := $(O)/.steps
IMAGES  = $(if $(FACES),$(call q,$(FACES)),$(O)/faces)
INIT   := $(O)/weights/init.caffemodel
TABLE   = $(if $(filter indexed,$(LAYOUT)),$(comma)$(O)/pairs/images.caffemodel)
# but for what Make would take for its own, and would change or break unsaid
define newline


endef
NAMES := OUT FACES ALEXNET HUMAN VENV PYTHON URLS GRID
unfit  = $(or $(if $(findstring $$,$(value $(1))),a dollar sign),$(if $(findstring $(newline),$(value $(1))),a line break))
$(foreach name,$(NAMES),$(if $(call unfit,$(name)),$(error $(name): expected a name without $(call unfit,$(name)), which Make takes for its own)))
# iterations of the snapshots the stages came to: with EARLY_STOP known only once they are trained
STOPS   = $(filter-out 0 no,$(EARLY_STOP))
result  = $(or $(if $(STOPS),$(shell sed -n 's/^ "iteration": \([0-9]*\),*$$/\1/p' $(O)/$(1)/snap_result.json 2>/dev/null)),$(2))
RESULT1 = $(call result,stage1,$(ITERATIONS))
LAST1   = $(O)/stage1/snap_iter_$(RESULT1).caffemodel
LAST2   = $(O)/stage2/snap_iter_$(call result,stage2,$(STAGE2_ITERATIONS)).caffemodel
# snapshots of Figures 3 and 4: those asked for, or those before a stage that stopped early, and its result
PANELS  = $(filter-out 0,$(if $(STOPS),$(call panels,$(RESULT1)),$(SHOWN)))
panels  = $(shell for n in $(SHOWN); do test $$n -ge $(1) || echo $$n; done) $(1)
EXTRACT = $(S) extract --pairs $(O)/pairs --deploy $(O)/prototxt/deploy.prototxt --engine $(ENGINE) --device $(firstword $(subst $(comma), ,$(DEVICE)))
# ALEXNET as somebody gave it must be there; the default place is looked into
ALEXNET_GIVEN = $(filter command environment,$(firstword $(origin ALEXNET)))
ALEXNET_NAMED = $(if $(ALEXNET_GIVEN),$(ALEXNET))
ALEXNET_THERE = $(if $(ALEXNET),$(shell test -e $(call q,$(ALEXNET)) && echo yes))
START_FROM = $(if $(ALEXNET),$(if $(ALEXNET_NAMED),--alexnet,--alexnet-if-there) $(call q,$(ALEXNET))) \
             $(if $(filter-out 0 no,$(SUBSTITUTE)),--or-substitute) $(if $(filter-out 0 no,$(OTHER_WEIGHTS)),--accept-other-weights)
NOT_THERE  = make: ALEXNET=$(ALEXNET): expected AlexNet's weights, found nothing there; make weights fetches them
NO_WEIGHTS = make: your own faces start from AlexNet's weights, and there is no $(ALEXNET): make weights fetches them, ALEXNET=FILE names them, SUBSTITUTE=1 starts from a stated substitute
stop       = { printf '%s\n' $(call q,$(1)) >&2; exit 2; }
# where the embedded engine looks into layers and repeats seeds: its torch may not know Caffe's GPU
EMBEDDED = $(if $(filter caffe,$(ENGINE)),cpu,$(DEVICE))
TORCHRUN = $(if $(filter-out 1,$(PROCESSES)),$(V)/bin/python -m torch.distributed.run --nproc-per-node $(PROCESSES) \
          -m siamplex,$(S))
TRAIN   = $(TORCHRUN) train --engine $(ENGINE) --device $(DEVICE) --resume \
          $(if $(filter torch,$(ENGINE)),--lean-snapshots --keep-states 1) \
          $(if $(STOPS),--early-stop --patience $(PATIENCE)) $(if $(filter-out 0 no,$(OVERWRITE)),--overwrite) $(TRAIN_FLAGS)
# the container, and what make docker-train hands on to the make inside: all that was given but for places
DOCKER    ?= docker
IMAGE     ?= siamplex
CAFFE_ENV ?= environment.yml
GPUS      ?= --gpus all
TARGET    ?= figures
DOCKER_ENGINE = $(if $(filter command,$(firstword $(origin ENGINE))),$(ENGINE),caffe)
DOCKER_DEVICE = $(if $(filter command,$(firstword $(origin DEVICE))),$(DEVICE),cuda)
HANDED_ON := SCALE NEW_LR_MULT BATCH STAGE2_BATCH BASE_LR ITERATIONS STAGE2_ITERATIONS STAGE2_BASE_LR DISPLAY SNAPSHOT SHOWN SEED SEEDS \
             LAYOUT ACTORS SIZE WIDTH TEST_INTERVAL EARLY_STOP PATIENCE OVERWRITE PROCESSES INDEX_FLAGS PAIRS_FLAGS NETS_FLAGS TRAIN_FLAGS REPORT_FLAGS SUBSTITUTE OTHER_WEIGHTS
# settings that siamplex plan looks at, as this Makefile has them
PLAN_SETTINGS := OUT FACES ENGINE DEVICE LAYOUT SEED HUMAN PROCESSES SEEDS ACTORS SIZE WIDTH SCALE BATCH STAGE2_BATCH NEW_LR_MULT \
             BASE_LR ITERATIONS STAGE2_ITERATIONS STAGE2_BASE_LR DISPLAY SNAPSHOT SHOWN TEST_INTERVAL EARLY_STOP OVERWRITE PATIENCE \
             INDEX_FLAGS PAIRS_FLAGS NETS_FLAGS TRAIN_FLAGS REPORT_FLAGS SUBSTITUTE OTHER_WEIGHTS
PLAN_ARGUMENTS = $(foreach name,$(PLAN_SETTINGS),$(call q,$(name)=$($(name)))) $(if $(ALEXNET_GIVEN),$(call q,ALEXNET=$(ALEXNET)))
PLAN       = $(V)/bin/python -m siamplex plan
CHECKED    := faces index pairs prototxt init train finetune features geometry figures similarity report seeds
PLANNED    = $(if $(filter file,$(origin TARGET)),report,$(TARGET))
absolute   = $(if $(filter /%,$(firstword $(1))),$(1),$(CURDIR)/$(1))
COLONS     = $(strip $(foreach name,OUT FACES ALEXNET,$(if $(findstring :,$($(name))),$(name))))
IS_TABLE   = $(filter %.csv %.CSV %.tsv %.txt,$(lastword $(FACES)))
PASSED_ON  = $(foreach name,$(HANDED_ON),$(if $(filter command,$(firstword $(origin $(name)))),$(call q,$(name)=$($(name)))))
comma  := ,
empty  :=
space  := $(empty) $(empty)

.DEFAULT_GOAL := help
.PHONY: help venv test check demo reproduce plan checked benchmark docs pictures doctor faces index pairs prototxt start init weights train finetune \
        features geometry figures similarity report audit seeds multiverse clean image docker-train

help: ## this text
	@echo "Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(call q,$(strip $(MAKEFILE_LIST))) | awk -F'|' '{printf "%-14s%s\n", $$1, $$2}'
	@echo "Variables (make pairs FACES=/data/NimStim OUT=nimstim):"
	@echo "  FACES=dir     folder of NimStim faces, or a CSV path,subject,emotion, also as Excel saves it (drawn stand-in faces)"
	@echo "  OUT=dir       folder of the run ("$(O)")"
	@echo "  ENGINE=name   torch (embedded) or caffe (the real binary: PATH or CAFFE_BIN) ($(ENGINE))"
	@echo "  DEVICE=name   cpu, cuda or cuda:N; with ENGINE=caffe cuda:N,M too ($(DEVICE))"
	@echo "  PROCESSES=n   train as n processes of the embedded engine, one GPU each with DEVICE=cuda ($(PROCESSES))"
	@echo "  LAYOUT=name   indexed or stacked pairs; stacked is 39 GB for 504 images ($(LAYOUT))"
	@echo "  HUMAN=csv     people's confusions or dissimilarities of the six emotions, or judgements of pictures, for similarity and maps"
	@echo "  SEEDS=n       seeds of make seeds ($(SEEDS))"
	@echo "  GRID=toml     settings of make multiverse, in place of the paper's; CELLS=n trainings of it, or HOURS=x"
	@echo "  ALEXNET=file  AlexNet's weights: caffemodel, ONNX model or npz ("$(call q,$(ALEXNET))")"
	@echo "  SUBSTITUTE=1  start your own FACES from a stated substitute; drawn faces do so without ALEXNET"
	@echo "  OTHER_WEIGHTS=1   take weights of AlexNet's shapes that are not AlexNet's; every output says so"
	@echo "  URLS='u u'    addresses that make weights tries, in place of its own list"
	@echo "  SEED=n  BATCH=n  STAGE2_BATCH=n  BASE_LR=x  ITERATIONS=n  STAGE2_ITERATIONS=n  STAGE2_BASE_LR=x"
	@echo "  SCALE=x       factor on pixels less the mean ($(SCALE)); NEW_LR_MULT=x  lr_mult of fc4-6 ($(NEW_LR_MULT))"
	@echo "  SIZE=n  WIDTH=x  (reduced sizes; the paper's are 227 and 1)"
	@echo "  SNAPSHOT=n    iterations between snapshots; SHOWN='n n ...' those of Figures 3 and 4"
	@echo "  EARLY_STOP=1  end a stage when validation loss has not fallen for PATIENCE=n tests ($(PATIENCE)), TEST_INTERVAL=n apart"
	@echo "  OVERWRITE=1   train anew where OUT holds snapshots of other settings, and remove these"
	@echo "  INDEX_FLAGS, PAIRS_FLAGS, NETS_FLAGS, TRAIN_FLAGS, REPORT_FLAGS   further options of siamplex index, pairs, prototxt, train, report"
	@echo "  PYTHON, VENV, TORCH       how the environment is made ("$(call q,$(PYTHON))", "$(V)", $(TORCH))"

# no file target: Make would take a name with a space for two
venv: ## make the environment (other targets do so by themselves)
	@test -n "$$(find $(V)/.ready -newer pyproject.toml 2>/dev/null)" || { \
		P=$(call q,$(PYTHON)); \
		"$$P" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
			{ echo "siamplex needs Python 3.10 or newer; $$P is $$("$$P" -V 2>&1). Give one: make PYTHON=..." >&2; exit 2; }; \
		echo "making the environment in" $(V) && "$$P" -m venv $(V) && \
		$(V)/bin/python -m pip install --quiet --disable-pip-version-check $(call q,$(TORCH)) -e ".[test]" && touch $(V)/.ready; }

test: venv check ## set up, check the code and run all tests
	$(V)/bin/python -m pytest -n auto

check: venv
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy
	$(V)/bin/lint-imports

demo: venv ## the whole reproduction with drawn faces and a short stage 2, under 10 minutes on 2 cores
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory report OUT=$(DEMO_OUT) $(DEMO) && \
	echo "demo: done in $$(( $$(date +%s) - start )) s; open" $(DEMO_OUT)/report/report.html

reproduce: venv ## the paper at full size: 5000 + 5000 iterations (hours on a CPU)
	@$(MAKE) --no-print-directory report

plan: venv ## steps of TARGET (report), what they read, write and take, and what would be refused; runs nothing
	@$(if $(filter demo,$(PLANNED)),$(MAKE) --no-print-directory plan TARGET=report OUT=$(DEMO_OUT) $(DEMO),$(PLAN) \
		$(PLANNED:reproduce=report) $(PLAN_ARGUMENTS))

# what can be known is checked before the first long step; says nothing where all is well
checked: venv
	@$(PLAN) --check $(or $(filter $(CHECKED),$(MAKECMDGOALS)),$(if $(filter multiverse,$(MAKECMDGOALS)),init),report) $(PLAN_ARGUMENTS)

docs: venv ## build the documentation into build/site, with its reference and the tutorial run; links are checked
	@NO_MKDOCS_2_WARNING=1 $(V)/bin/python -m mkdocs build --quiet --strict && echo "docs: open build/site/index.html"

pictures: demo ## make the demo, and take the pictures and the embedding of README and docs from it
	cp $(DEMO_OUT)/figures/fig3.png $(DEMO_OUT)/figures/fig5.png $(DEMO_OUT)/figures/loss.png docs/pictures
	cp $(DEMO_OUT)/features/stage2.npz docs/data/demo.npz

doctor: venv ## say what this machine can do and what is missing
	@$(S) doctor --alexnet $(call q,$(ALEXNET))

benchmark: venv ## measure siamplex against a plain PyTorch port (CAFFE=binary: against Caffe too)
	$(V)/bin/python tools/benchmark.py $(if $(CAFFE),--caffe $(call q,$(CAFFE))) $(if $(ALEXNET_THERE),--alexnet $(call q,$(ALEXNET)))

image: ## build the container with the real Caffe (CAFFE_ENV=environments/caffe-cpu.yml without GPU, TORCH=torch)
	$(DOCKER) build --tag $(IMAGE) --build-arg $(call q,CAFFE_ENV=$(CAFFE_ENV)) --build-arg $(call q,TORCH=$(TORCH)) .

docker-train: ## run TARGET (figures) in it, with Caffe on all GPUs, FACES read-only, OUT written as you
	$(if $(COLONS),@$(call stop,make: $(COLONS): expected a name without a colon for a container))
	$(if $(ALEXNET_NAMED),@test -e $(call q,$(ALEXNET)) || $(call stop,$(NOT_THERE)))
	mkdir -p $(O)
	$(DOCKER) run --rm $(GPUS) --user $$(id -u):$$(id -g) --volume $(call q,$(call absolute,$(OUT)):/out) \
		$(if $(FACES),--volume $(if $(IS_TABLE),"$$(dirname $(call q,$(call absolute,$(FACES))))":/faces:ro,$(call q,$(call absolute,$(FACES)):/faces:ro))) \
		$(if $(ALEXNET_THERE),--volume $(call q,$(call absolute,$(ALEXNET)):/alexnet.caffemodel:ro)) \
		$(IMAGE) $(TARGET) OUT=/out ENGINE=$(DOCKER_ENGINE) DEVICE=$(DOCKER_DEVICE) \
		$(if $(FACES),FACES=/faces$(if $(IS_TABLE),/"$$(basename $(call q,$(FACES)))")) \
		$(if $(ALEXNET_THERE),ALEXNET=/alexnet.caffemodel) $(PASSED_ON)

DEMO := STAGE2_ITERATIONS=30 DISPLAY=5
ifeq ($(OUT),run)
DEMO_OUT := demo
else
DEMO_OUT := $(O)
endif

faces: checked
ifeq ($(FACES),)
	@$(S) faces $(IMAGES) --actors $(ACTORS) --seed $(SEED) --stamp $(STAMPS)/faces.json
endif

index: faces
	@$(S) index $(IMAGES) --out $(O)/index.csv $(INDEX_FLAGS) --stamp $(STAMPS)/index.json

pairs: index ## index the faces (or draw some), split the subjects, write the pairs
	@$(S) pairs --index $(O)/index.csv --out $(O)/pairs --layout $(LAYOUT) --size $(SIZE) --scale $(SCALE) --seed $(SEED) \
		$(PAIRS_FLAGS) --stamp $(STAMPS)/pairs.json

prototxt: pairs ## write nets and solvers for the run
	@$(S) prototxt --pairs $(O)/pairs --run $(O) --nets $(O)/prototxt --solvers $(O)/solvers \
		--width $(WIDTH) --batch-size $(BATCH) --stage2-batch-size $(STAGE2_BATCH) --base-lr $(BASE_LR) \
		--new-lr-mult $(NEW_LR_MULT) --iterations $(ITERATIONS) \
		--stage2-iterations $(STAGE2_ITERATIONS) --stage2-base-lr $(STAGE2_BASE_LR) --snapshot $(SNAPSHOT) --display $(DISPLAY) \
		--test-interval $(TEST_INTERVAL) --seed $(SEED) --device $(DEVICE) $(NETS_FLAGS)

weights: venv ## fetch AlexNet's weights into ALEXNET, from the first address that has them
	@$(V)/bin/python tools/fetch_alexnet.py --out $(call q,$(ALEXNET)) $(foreach url,$(URLS),--url $(call q,$(url))) \
		$(if $(filter-out 0 no,$(OTHER_WEIGHTS)),--accept-other-weights)

# before the environment is made, or anything drawn, indexed or paired: is there something to start from?
start:
ifneq ($(ALEXNET_NAMED),)
	@test -e $(call q,$(ALEXNET)) || $(call stop,$(NOT_THERE))
else ifneq ($(FACES),)
	@test -n "$(filter-out 0 no,$(SUBSTITUTE))" || test -e $(call q,$(ALEXNET)) || test -e $(call q,$(FACES)/SYNTHETIC.json) || $(call stop,$(NO_WEIGHTS))
endif

init: start prototxt
	@$(S) weights --deploy $(O)/prototxt/deploy.prototxt --out $(INIT) --pairs $(O)/pairs $(START_FROM) \
		--seed $(SEED) --stamp $(STAMPS)/init.json

train: init ## stage 1: conv1-3 frozen
	$(TRAIN) --solver $(O)/solvers/stage1_$(LAYOUT).prototxt --weights $(INIT)$(TABLE) \
		$(if $(filter torch,$(ENGINE)),--snapshot-at $(subst $(space),$(comma),$(strip $(SHOWN))))

finetune: train ## stage 2: everything learns
	$(TRAIN) --solver $(O)/solvers/stage2_$(LAYOUT).prototxt --weights $(LAST1)$(TABLE)

features: finetune ## embeddings of all images at the snapshots shown
	@$(EXTRACT) --weights $(INIT) --out $(O)/features/stage1_iter_0.npz --stamp $(STAMPS)/features1_0.json
	@for n in $(PANELS); do \
		$(EXTRACT) --weights $(O)/stage1/snap_iter_$$n.caffemodel --out $(O)/features/stage1_iter_$$n.npz \
			--stamp $(STAMPS)/features1_$$n.json || exit $$?; \
	done
	@$(EXTRACT) --weights $(LAST2) --out $(O)/features/stage2.npz --stamp $(STAMPS)/features2.json

geometry: features ## circular order, separability, held-out accuracy
	@$(S) geometry $(O)/features/stage1_iter_$(lastword 0 $(PANELS)).npz --out $(O)/geometry/stage1.json
	@$(S) geometry $(O)/features/stage2.npz --out $(O)/geometry/stage2.json

figures: features ## Figures 3(a-d), 4, 5, 6 and the loss curve
	@$(S) figures --stage1 $(O)/features/stage1_iter_0.npz $(foreach n,$(PANELS),$(O)/features/stage1_iter_$(n).npz) \
		--stage2 $(O)/features/stage2.npz --losses $(O)/stage1/snap_losses.csv $(O)/stage2/snap_losses.csv \
		--out $(O)/figures --stamp $(STAMPS)/figures.json

similarity: features ## layers against people (HUMAN=csv), action units and the circle, with intervals; maps
	@$(S) similarity $(O)/features/stage2.npz --weights $(LAST2) --deploy $(O)/prototxt/deploy.prototxt \
		--pairs $(O)/pairs --device $(EMBEDDED) $(if $(HUMAN),--human $(call q,$(HUMAN))) \
		--out $(O)/similarity/stage2.json --stamp $(STAMPS)/similarity.json
	$(if $(HUMAN),@$(S) mds $(call q,$(HUMAN)) --embedding $(O)/features/stage2.npz --out $(O)/maps/people)

report: figures geometry similarity ## one HTML page with everything, to open in a browser
	@$(S) report $(O) $(REPORT_FLAGS)

audit: venv ## hold the run OUT against the paper; fails where a setting the paper states differs
	@$(S) audit $(O) $(if $(ALEXNET_NAMED)$(ALEXNET_THERE),--alexnet $(call q,$(ALEXNET)))

seeds: init ## train stage 1 from SEEDS seeds: how often does the paper's order appear?
	@$(S) seeds $(O) --seeds $(SEEDS) --device $(EMBEDDED) $(START_FROM)

multiverse: init ## train stage 1 with every choice that the paper leaves open, and with controls
	@$(S) multiverse $(O) $(if $(GRID),--grid $(call q,$(GRID))) $(if $(CELLS),--cells $(CELLS)) $(if $(HOURS),--hours $(HOURS)) \
		$(if $(HUMAN),--human $(call q,$(HUMAN))) $(START_FROM)

clean: ## remove the environment (runs are kept)
	rm -rf $(V)
