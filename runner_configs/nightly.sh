#!/bin/sh
# One night of cleaning: embed what is new, train when it is due, clean and publish, tell the figures, export.
#
#   nightly.sh             all steps, in this order
#   nightly.sh STEP        one of embed, train, clean, metrics, export
#
# The same command again goes on where it stopped, and changes nothing if all is done. The exit code is that of iadsr:
# 5 if a gate fails (readers keep what they have), 99 if `train` is asked for and not due. Settings are environment
# variables; paths are absolute.
#
#   IADSR_DIR              what the nights write: embeddings/, models/, dataset/, exports/, lineage/
#   IADSR_ITEMS            the catalogue
#   IADSR_LOG              the log; {day} stands for the day
#   IADSR_DAY              the day, such as 2026-11-28; without it, today in UTC
#   IADSR_TRAIN            when-due (without it), always or never
#   IADSR_GATES            file of gates; without it, the default ones
#   IADSR_KEEP_RUNS        runs and exports that are kept, 14 without it
#   IADSR_FORMATS          formats to export, such as "recbole hf"
#   IADSR_PROM             file for node exporter's textfile collector, such as /var/lib/node_exporter/iadsr.prom
#   IADSR_EMBED_OPTIONS, IADSR_TRAIN_OPTIONS, IADSR_CLEAN_OPTIONS
#                          further options, such as "--config /etc/iadsr/clean.yaml"
#   IADSR_COMMAND          the program, iadsr without it
set -eu

NOT_DUE=99
GATE_FAILED=5

: "${IADSR_DIR:?names the directory that the nights write to}"
day=${IADSR_DAY:-$(date -u +%F)}
iadsr=${IADSR_COMMAND:-iadsr}
log=$(printf %s "${IADSR_LOG:-}" | sed "s|{day}|$day|g")
dataset=$IADSR_DIR/dataset

# Prints the newest folder PREFIX=DATE with a file in it whose date is before another one.
newest() { # PREFIX FILE DATE
  found=
  for file in "$1"=*/"$2"; do
    folder=${file%/"$2"}
    # shellcheck disable=SC3012  # dash, bash, busybox and ksh all have it
    if [ -e "$file" ] && [ "${folder##*=}" \< "$3" ]; then found=$folder; fi
  done
  printf %s "$found"
}

model() {
  newest "$IADSR_DIR/models/model" config.json "$day~" # ~ comes after all that a date can end in
}

# Prints what `iadsr check` says of training again, by the last published run before the day.
verdict() {
  if [ -z "$(model)" ]; then
    echo "retrain: yes, because there is no model yet."
    return
  fi
  run=$(newest "$dataset/run" _SUCCESS "$day")
  if [ -z "$run" ]; then
    echo "retrain: no, as there is no run yet."
    return
  fi
  before=$(newest "$dataset/run" _SUCCESS "${run##*=}")
  code=0
  said=$("$iadsr" check "$run" ${before:+--against "$before"} ${IADSR_GATES:+--gates "$IADSR_GATES"}) || code=$?
  [ $code -eq 0 ] || [ $code -eq $GATE_FAILED ] || return $code
  printf '%s\n' "$said" | sed -n '$p'
}

step_embed() {
  # shellcheck disable=SC2086  # options are words
  "$iadsr" embed --items "$IADSR_ITEMS" --output "$IADSR_DIR/embeddings" ${IADSR_EMBED_OPTIONS:-}
}

step_train() {
  output=$IADSR_DIR/models/model=$day
  said="retrain: ${IADSR_TRAIN:-when-due}, as IADSR_TRAIN says."
  if [ "${IADSR_TRAIN:-when-due}" = when-due ]; then
    if [ -e "$output/config.json" ]; then
      said="retrain: no, as it was done before."
    else
      said=$(verdict) || return $?
    fi
  fi
  echo "$said"
  case $said in
    "retrain: yes"* | "retrain: always"*) ;;
    *) return $NOT_DUE ;;
  esac
  # shellcheck disable=SC2086
  "$iadsr" train --interactions "$log" --embeddings "$IADSR_DIR/embeddings" --output "$output" --overwrite \
    ${IADSR_TRAIN_OPTIONS:-}
}

step_clean() {
  # shellcheck disable=SC2086
  "$iadsr" clean --interactions "$log" --embeddings "$IADSR_DIR/embeddings" --model "$(model)" \
    --dataset "$dataset" --run-id "$day" --keep-runs "${IADSR_KEEP_RUNS:-14}" \
    ${IADSR_GATES:+--gates "$IADSR_GATES"} ${IADSR_CLEAN_OPTIONS:-}
}

step_metrics() {
  run=$dataset/run=$day
  mkdir -p "$IADSR_DIR/lineage"
  tell openlineage "$IADSR_DIR/lineage/$day.jsonl" && { [ -z "${IADSR_PROM:-}" ] || tell prometheus "$IADSR_PROM"; }
}

tell() { # FORMAT FILE
  "$iadsr" metrics "$run" --format "$1" --output "$2" ${IADSR_GATES:+--gates "$IADSR_GATES"}
}

step_export() {
  for format in ${IADSR_FORMATS:-}; do
    exports=$IADSR_DIR/exports/$format
    mkdir -p "$exports"
    earlier=$(newest "$exports/run" README.md "$day")
    [ -e "$earlier/item_map.parquet" ] || earlier= # a format in which ids are no numbers
    "$iadsr" export "$dataset/run=$day" --format "$format" --output "$exports/run=$day" --overwrite \
      ${earlier:+--ids "$earlier"}
    # shellcheck disable=SC2012  # the names are dates
    ls -d "$exports"/run=* | sort -r | tail -n "+$((${IADSR_KEEP_RUNS:-14} + 1))" | xargs -r rm -rf
  done
}

all_steps() {
  step_embed
  code=0
  (step_train) || code=$?
  [ $code -eq 0 ] || [ $code -eq $NOT_DUE ] || return $code
  code=0
  (step_clean) || code=$?
  told=0
  (step_metrics) || told=$?
  [ $code -eq 0 ] || return $code
  [ $told -eq 0 ] || return $told
  step_export
}

case ${1:-all} in
  embed | train | clean | metrics | export) "step_$1" ;;
  all) all_steps ;;
  *)
    echo "nightly.sh: no step $1" >&2
    exit 2
    ;;
esac
