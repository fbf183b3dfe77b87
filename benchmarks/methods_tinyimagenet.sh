#!/usr/bin/env bash
# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# The comparison of docs/results.md: ten methods, one schedule, no tuning, 20 classes of Tiny ImageNet, a narrow
# ResNet-18; then the sweep of lambda. It resumes: stop it at any time and start it again with the same arguments.
#
#   benchmarks/methods_tinyimagenet.sh WORK_DIR
#
# EPOCHS (8), SEEDS ("0 1"), CLASSES (20), JOBS (runs at once, 1) and STEP (all, compare, sweep, grid or plan) may be
# set in the environment. One run of 8 epochs is 80 000 image passes. Runs of other EPOCHS or CLASSES belong into
# another WORK_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
WORK=${1:?say where the runs go}
EPOCHS=${EPOCHS:-8} CLASSES=${CLASSES:-20} JOBS=${JOBS:-1} STEP=${STEP:-all}
read -r -a SEEDS <<<"${SEEDS:-0 1}"
read -r -a METHODS <<<"${METHODS:-has cutmix adl rdap acol ls cp er efw ent}"
read -r -a LAMBDAS <<<"${LAMBDAS:-0.03 0.1 0.3 1 3}"
read -r -a LOSSES <<<"${LOSSES:-er cp jeffreys}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

BASE=configs/wsol/resnet18_tinyimagenet
CONFIGS=("$BASE.py")
for method in "${METHODS[@]}"; do CONFIGS+=("${BASE}_$method.py"); done
OPTIONS=(
    model.backbone.base_channels=16 model.backbone.stem_channels=16 data_preprocessor.num_classes="$CLASSES"
    train_dataloader.dataset.classes="$CLASSES" val_dataloader.dataset.classes="$CLASSES"
    test_dataloader.dataset.classes="$CLASSES" train_cfg.max_epochs="$EPOCHS"
)
MOSAIC=(--eval-configs mosaic=${BASE}_mosaic.py --eval-options test_dataloader.dataset.dataset.classes="$CLASSES")
PLAN=()
[ "$STEP" = plan ] && PLAN=(--dry-run)

if [ "$STEP" != sweep ] && [ "$STEP" != grid ]; then
    python tools/analysis_tools/compare.py "${CONFIGS[@]}" --seeds "${SEEDS[@]}" --work-dir "$WORK/methods" \
        --jobs "$JOBS" --cfg-options "${OPTIONS[@]}" "${MOSAIC[@]}" "${PLAN[@]}"
fi
if [ "$STEP" = all ] || [ "$STEP" = grid ]; then
    python tools/visualization/methods_grid.py "${CONFIGS[@]}" --work-dir "$WORK/methods" --seed "${SEEDS[0]}" \
        --out "$WORK/methods_grid.png" --cfg-options "${OPTIONS[@]}" --tile 120
fi
if [ "$STEP" = all ] || [ "$STEP" = sweep ] || [ "$STEP" = plan ]; then
    python tools/analysis_tools/entropy_sweep.py "$BASE.py" --losses "${LOSSES[@]}" --lambdas "${LAMBDAS[@]}" \
        --seeds "${SEEDS[0]}" --work-dir "$WORK/sweep" --jobs "$JOBS" --cfg-options "${OPTIONS[@]}" "${MOSAIC[@]}" "${PLAN[@]}"
fi
