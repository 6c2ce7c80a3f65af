"""Notes in a data frame of Spark: the same function on every worker.

Spark itself hands out the notes, repeats what a lost worker had, and writes results. Each Python
worker loads the model once, when it gets its first notes. No RDD, which Spark Connect lacks, and no
broadcast of the model, which must be installed, or lie under one path, on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ClinicalNerError, InputError, close_matches, missing_extra
from ..files import check_not_read
from ..model.gpu import use_gpu
from .annotator import Settings, text_annotator
from .table import annotate_table

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

#: Columns of the result. A row is of an entity, without a status, or of a note: its id, status and
#: error.
SCHEMA = (
    "id string, start long, end long, label string, probability double, model string, "
    "model_version string, status string, error string"
)
#: Formats that Spark reads, by ending.
READ = {".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".csv": "csv"}
#: Rows that a worker holds at a time, in place of Spark's 10,000.
ROWS = 500


def annotate(
    notes: DataFrame,
    model: str | Path,
    *,
    id: str = "id",
    text: str = "text",
    include_text: bool = False,
    partitions: int | None = None,
    labels: Sequence[str] = (),
    min_probability: float = 0.0,
    prior_strength: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    batch_size: int = 0,
) -> DataFrame:
    """Annotate the notes of a data frame; nothing is done until the result is asked for.

    Args:
        notes: a column of ids and one of texts.
        model: a pipeline's folder, or the name of an installed package, on every machine.
        id: column of the ids.
        text: column of the texts.
        include_text: add the column ``text``, the text of each entity.
        partitions: parts that the notes are dealt out to, evenly, before they are annotated; None
            to leave them where they are. In each part notes of about one length are neighbours.
        labels: see `annotate_table`.
        min_probability: see `annotate_table`.
        prior_strength: see `annotate_table`.
        thresholds: see `annotate_table`.
        batch_size: see `annotate_table`.

    Returns:
        The columns of SCHEMA: a row for every entity, and one for every note, which alone has a
        ``status``.

    Raises:
        ClinicalNerError: a column is missing.
    """
    import pandas as pd
    from pyspark.sql import functions, types

    for column in (id, text):
        if column not in notes.columns:
            raise InputError(
                f"The data frame has no column {column!r}. {close_matches(column, notes.columns)}"
            )
    settings: dict[str, Any] = {
        "labels": tuple(labels),
        "min_probability": min_probability,
        "prior_strength": prior_strength,
        "thresholds": thresholds,
        "batch_size": batch_size,
    }

    schema = f"{SCHEMA}, text string" if include_text else SCHEMA
    columns = [of.split()[0] for of in schema.split(", ")]

    def annotate_parts(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        _use_resources_of_task()
        for part in parts:
            entities, status = annotate_table(part, model, include_text=include_text, **settings)
            # Of objects: concat would make floats of numbers where notes have none, and Spark
            # cannot read the strings of pandas 3.
            tables = [of.astype(object) for of in (entities, status[["id", "status", "error"]])]
            rows = pd.concat(tables, ignore_index=True).reindex(columns=columns)
            yield rows.where(rows.notna(), None)

    ids = notes[id]
    if isinstance(notes.schema[id].dataType, types.IntegralType):
        # With one id missing, pandas would round the others to floats.
        ids = ids.cast("string")
    chosen = notes.select(ids.alias("id"), notes[text].alias("text"))
    if partitions is not None:
        chosen = chosen.repartition(partitions)
        chosen = chosen.sortWithinPartitions(functions.length(chosen["text"].cast("string")))
    return chosen.mapInPandas(annotate_parts, schema)


def predict_with_spark(
    model: str | Path,
    source: Path,
    output: Path,
    settings: Settings,
    *,
    master: str | None,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Annotate what Spark can read, and let it write a folder of Parquet files.

    Args:
        model: see `annotate`.
        source: a file, or a folder of files, named .parquet, .jsonl or .csv.
        output: the folder.
        settings: of the annotation.
        master: of Spark, such as "local[2]"; None for what its settings say.
        overwrite: replace the folder.
        **options: `id`, `text`, `include_text` and `partitions` of `annotate`.

    Returns:
        As `predict` does.

    Raises:
        ClinicalNerError: pyspark or Java is missing, an input is not what it should be, or the job
            failed.
    """
    if source.suffix.lower() not in READ:
        raise InputError(
            f"{source}: Spark reads {', '.join(READ)} here. Name such a file or folder."
        )
    if not source.exists():
        raise InputError(f"{source}: no such file or folder. Check the path.")
    check_not_read(output, source)
    if output.exists() and not overwrite:
        raise InputError(f"{output}: exists. Name another output, or give --overwrite.")
    if output.exists() and not _is_of_spark(output):
        raise InputError(
            f"{output}: is not a folder that Spark wrote, and --overwrite removes no other. Name "
            "another."
        )
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise missing_extra("--engine spark", "pyspark", "spark") from error
    # What is wrong with the model or its settings is told here, in one line, not by every worker.
    text_annotator(str(model), settings)
    builder = SparkSession.builder.appName("clinical-ner predict")
    if master is not None:
        builder = builder.master(master)
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS)
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError, RuntimeError) as error:
        raise InputError(
            "Spark does not start. It needs Java 17: install it, and let JAVA_HOME name its folder."
        ) from error
    kind = READ[source.suffix.lower()]
    reader = session.read.format(kind)
    if kind == "csv":
        reader = reader.options(header=True, multiLine=True, escape='"')
    asked = {**vars(settings), "thresholds": settings.thresholds and dict(settings.thresholds)}
    try:
        found = annotate(reader.load(str(source)), model, **asked, **options)
        found.write.mode("overwrite" if overwrite else "errorifexists").parquet(str(output))
        return _report(session.read.parquet(str(output)), output)
    except (PySparkException, Py4JError) as error:
        # Its message holds the worker's traceback, and that could hold a note.
        raise ClinicalNerError(
            f"The job of Spark failed ({type(error).__name__}): see the logs of its workers. "
            f"{output} is not whole."
        ) from None
    finally:
        session.stop()


def _is_of_spark(path: Path) -> bool:
    names = [of.name.lstrip(".") for of in path.iterdir()] if path.is_dir() else ["a file"]
    return all(name.startswith(("part-", "_SUCCESS", "_temporary")) for name in names)


def _report(written: DataFrame, output: Path) -> dict[str, Any]:
    status: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    entities = 0
    for row in written.groupBy("status", "error").count().collect():
        if row["status"] is None:
            entities = row["count"]
            continue
        status[row["status"]] += row["count"]
        if row["error"] is not None:
            errors[row["error"]] += row["count"]
    return {
        "notes": status.total(),
        "status": dict(status),
        "errors": dict(errors),
        "entities": entities,
        "output": str(output),
    }


def _use_resources_of_task() -> None:
    """Take the GPU that Spark gave to the task, and as many threads as the task has cores."""
    import torch
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return
    torch.set_num_threads(context.cpus())
    if "gpu" in context.resources():
        use_gpu(int(context.resources()["gpu"].addresses[0]))
