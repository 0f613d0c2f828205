#!/bin/sh
# One night of cleaning: embed what is new, clean and publish, tell the figures, export, train when it is due.
#
#   nightly.sh             all steps, in this order
#   nightly.sh STEP        one of embed, first-model, clean, metrics, export, train
#
# The same command again goes on where it stopped, and changes nothing if all is done. The exit code is that of iadsr:
# 5 if a gate fails (readers keep what they have), or 99 if a step that trains is not due.
#
# A model is trained on a log that has passed the gates, and is used from the next night on: so a broken feed teaches it
# nothing. Only the first night, which has no model, trains before it cleans.
#
# Settings are environment variables; paths are absolute.
#
#   IADSR_DIR              what the nights write: embeddings/, models/, dataset/, exports/, lineage/
#   IADSR_ITEMS            the catalogue
#   IADSR_LOG              the log; {day} stands for the day
#   IADSR_DAY              the day, such as 2026-11-28; without it, today in UTC
#   IADSR_TRAIN            when-due (without it), always or never
#   IADSR_TRAIN_FROM       newest: start from the newest model of an earlier night; without it, from nothing
#   IADSR_GATES            file of gates; without it, the default ones
#   IADSR_KEEP_RUNS        runs and exports that are kept, 14 without it
#   IADSR_FORMATS          formats to export, such as "recbole hf"
#   IADSR_PROM             file for node exporter's textfile collector, such as /var/lib/node_exporter/iadsr.prom
#   IADSR_EMBED_OPTIONS, IADSR_TRAIN_OPTIONS, IADSR_CLEAN_OPTIONS
#                          further options, such as "--config /etc/iadsr/clean.yaml"
#   IADSR_LOG_FORMAT       json for log collectors, text without it
#   IADSR_COMMAND          the program, iadsr without it
set -eu

NOT_DUE=99
GATE_FAILED=5

: "${IADSR_DIR:?names the directory that the nights write to}"
day=${IADSR_DAY:-$(date -u +%F)}
log=$(printf %s "${IADSR_LOG:-}" | sed "s|{day}|$day|g")
models=$IADSR_DIR/models
dataset=$IADSR_DIR/dataset
run=$dataset/run=$day

iadsr() {
  "${IADSR_COMMAND:-iadsr}" "$@" ${IADSR_LOG_FORMAT:+--log-format "$IADSR_LOG_FORMAT"}
}

# Prints the newest folder PREFIX=DATE with a file in it whose date is before the day.
newest() { # PREFIX FILE
  found=
  for file in "$1"=*/"$2"; do
    folder=${file%/"$2"}
    # shellcheck disable=SC3012  # dash, bash and other shells have it
    if [ -e "$file" ] && [ "${folder##*=}" \< "$day" ]; then found=$folder; fi
  done
  printf %s "$found"
}

step_embed() {
  # shellcheck disable=SC2086  # options are words
  iadsr embed --items "$IADSR_ITEMS" --output "$IADSR_DIR/embeddings" ${IADSR_EMBED_OPTIONS:-}
}

train() {
  start=
  [ "${IADSR_TRAIN_FROM:-}" != newest ] || start=$(newest "$models/model" config.json)
  # shellcheck disable=SC2086
  iadsr train --interactions "$log" --embeddings "$IADSR_DIR/embeddings" --output "$models/model=$day" --overwrite \
    ${start:+--from "$start"} ${IADSR_TRAIN_OPTIONS:-}
}

step_first_model() {
  if [ -n "$(newest "$models/model" config.json)" ] || [ -e "$models/model=$day/config.json" ]; then
    return $NOT_DUE
  fi
  train
}

step_clean() {
  model=$(newest "$models/model" config.json)
  # shellcheck disable=SC2086
  iadsr clean --interactions "$log" --embeddings "$IADSR_DIR/embeddings" --model "${model:-$models/model=$day}" \
    --dataset "$dataset" --run-id "$day" --keep-runs "${IADSR_KEEP_RUNS:-14}" \
    ${IADSR_GATES:+--gates "$IADSR_GATES"} ${IADSR_CLEAN_OPTIONS:-}
}

tell() { # FORMAT FILE
  iadsr metrics "$run" --format "$1" --output "$2" ${IADSR_GATES:+--gates "$IADSR_GATES"}
}

step_metrics() {
  mkdir -p "$IADSR_DIR/lineage"
  tell openlineage "$IADSR_DIR/lineage/$day.jsonl" && { [ -z "${IADSR_PROM:-}" ] || tell prometheus "$IADSR_PROM"; }
}

step_export() {
  for format in ${IADSR_FORMATS:-}; do
    exports=$IADSR_DIR/exports/$format
    mkdir -p "$exports"
    earlier=$(newest "$exports/run" README.md)
    [ -e "$earlier/item_map.parquet" ] || earlier= # a format in which ids are no numbers
    iadsr export "$run" --format "$format" --output "$exports/run=$day" --overwrite ${earlier:+--ids "$earlier"} ||
      return $?
    # shellcheck disable=SC2012  # the names are dates
    ls -d "$exports"/run=* | sort -r | tail -n "+$((${IADSR_KEEP_RUNS:-14} + 1))" | xargs -r rm -rf
  done
}

step_train() {
  said="retrain: no, as it is done."
  case ${IADSR_TRAIN:-when-due} in
    always) said="retrain: yes, as IADSR_TRAIN says." ;;
    never) said="retrain: no, as IADSR_TRAIN says." ;;
    *)
      if ! [ -e "$models/model=$day/config.json" ]; then
        before=$(newest "$dataset/run" _SUCCESS)
        code=0
        said=$(iadsr check "$run" ${before:+--against "$before"} ${IADSR_GATES:+--gates "$IADSR_GATES"}) || code=$?
        [ $code -eq 0 ] || [ $code -eq $GATE_FAILED ] || return $code
        said=$(printf '%s\n' "$said" | sed -n '$p') # the last line says it
      fi
      ;;
  esac
  echo "$said"
  case $said in
    "retrain: yes"*) train ;;
    *) return $NOT_DUE ;;
  esac
}

# Runs a step. `set -e` does not hold in it, as in all of whose exit code is asked for.
attempt() {
  code=0
  ("step_$1") || code=$?
  [ $code -ne $NOT_DUE ] || code=0
}

all_steps() {
  attempt embed
  [ $code -eq 0 ] || return $code
  attempt first_model
  [ $code -eq 0 ] || return $code
  attempt clean
  cleaned=$code
  attempt metrics # also of a run whose gates have failed
  [ $cleaned -eq 0 ] || return $cleaned
  worst=$code
  for step in export train; do
    attempt $step
    [ $worst -ne 0 ] || worst=$code
  done
  return $worst
}

case ${1:-all} in
  embed | clean | metrics | export | train) "step_$1" ;;
  first-model) step_first_model ;;
  all) all_steps ;;
  *)
    echo "nightly.sh: no step $1" >&2
    exit 2
    ;;
esac
