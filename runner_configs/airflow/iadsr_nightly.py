"""A night of iadsr as a DAG of Airflow 3.3 or newer: embed, clean and publish, metrics, export, train when due.

Each task runs one step of nightly.sh, which says what the steps do and which settings they take. The settings are the
keys of one Airflow Variable, so that nothing is written here. To set up:

    airflow variables import runner_configs/airflow/variables.json     # with your own paths in it
    airflow pools set iadsr 1 "Work that needs a whole machine"

One run cleans one day, and its logical date is that day. The same day again gives the same result. For days gone by:

    airflow backfill create --dag-id iadsr_nightly --from-date 2026-11-01 --to-date 2026-11-27 --max-active-runs 1
"""

import datetime
import re

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, Param, RetryDecision, RetryPolicy

VARIABLE = "iadsr"
"""Name of the Airflow Variable. For another log: a copy of this file with another name and another `dag_id`."""

SETTINGS = (
    *("IADSR_COMMAND", "IADSR_DIR", "IADSR_ITEMS", "IADSR_LOG", "IADSR_GATES", "IADSR_KEEP_RUNS", "IADSR_FORMATS"),
    *(
        "IADSR_PROM",
        "IADSR_LOG_FORMAT",
        "IADSR_EMBED_OPTIONS",
        "IADSR_TRAIN_FROM",
        "IADSR_TRAIN_OPTIONS",
        "IADSR_CLEAN_OPTIONS",
    ),
)

NOT_DUE = 99

FINAL = {
    2: "wrong usage",
    3: "rows do not add up",
    4: "a bug of iadsr",
    5: "a gate failed: see the table above, and release the run with `iadsr publish` or mend the feed",
}
"""Exit codes that another try does not change. An input may come late (1), an engine may come back (6), and what was
killed goes on where it stopped."""


class ByExitCode(RetryPolicy):
    """Tries again unless the exit code says that it is of no use."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        """Reads the exit code from the words of the BashOperator."""
        code = re.search(r"non-zero exit code (\d+)", str(exception))
        reason = FINAL.get(int(code[1])) if code else None
        return RetryDecision.fail(reason) if reason else RetryDecision.default()


def step(name: str, **options) -> BashOperator:
    """Makes the task of a step of nightly.sh."""
    return BashOperator(
        task_id=name,
        bash_command=f"{{{{ var.json.{VARIABLE}.script }}}} {name}",
        env={
            **{key: f"{{{{ var.json.{VARIABLE}.get('{key}', '') }}}}" for key in SETTINGS},
            "IADSR_DAY": "{{ ds }}",
            "IADSR_TRAIN": "{{ params.train }}",
        },
        append_env=True,
        retry_policy=ByExitCode(),
        **options,
    )


with DAG(
    dag_id="iadsr_nightly",
    description="Clean the log of a day, and publish it if no gate fails.",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),  # before any log: how far backfills may go back
    catchup=False,  # a night that was missed is made up for by the next one
    max_active_runs=1,  # nights share embeddings, models and the pointer to the latest run
    default_args={
        "retries": 2,
        "retry_delay": datetime.timedelta(minutes=10),
        "retry_exponential_backoff": True,
        "execution_timeout": datetime.timedelta(hours=12),
    },
    params={"train": Param("when-due", enum=["when-due", "always", "never"], description="Train a new model?")},
    tags=["iadsr"],
):
    embed = step("embed", pool="iadsr")
    first_model = step("first-model", pool="iadsr", skip_on_exit_code=NOT_DUE)
    clean = step("clean", pool="iadsr", trigger_rule="none_failed", outlets=[Asset("iadsr_dataset")])
    # Also of a run whose gates have failed.
    metrics = step("metrics", trigger_rule="all_done", retries=0)
    export = step("export")
    train = step("train", pool="iadsr", skip_on_exit_code=NOT_DUE)
    embed >> first_model >> clean >> [metrics, export, train]
