"""The command that asks the tables in SQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from hp_pipeline.cli.common import err, open_workspace, places, terminal_width

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("query", required=False)
@places
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def sql(query: str | None, settings: str | None, data: str | None, form: str) -> None:
    """Ask the tables in SQL (DuckDB); without QUERY, interactively.

    \b
    hp-pipeline sql "SELECT start, mode, cop FROM sessions ORDER BY start DESC LIMIT 10"
    hp-pipeline sql "SHOW TABLES"
    hp-pipeline sql "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'daily'"
    """
    import duckdb

    workspace = open_workspace(settings, data)
    workspace.publish()
    connection = duckdb.connect(str(workspace.database), read_only=True)
    connection.execute("SET TimeZone = ?", [workspace.settings.site.time_zone])
    if query is not None:
        try:
            _answer(connection, query, form)
        except duckdb.Error as error:
            raise click.ClickException(str(error)) from None
        return
    interactive = sys.stdin.isatty()
    if interactive:
        click.echo(f"{workspace.database} (read only). End a query with ; and leave with Ctrl-D. Try SHOW TABLES;")
    failed = False
    for statement in _statements(interactive):
        try:
            _answer(connection, statement, form)
        except duckdb.Error as error:
            failed = True
            err.print(f"[red]{escape(str(error))}[/red]", highlight=False)
    if failed and not interactive:
        raise SystemExit(1)


def _statements(interactive: bool) -> Iterator[str]:
    """Statements as they are typed or piped in, each up to its semicolon; the last one needs none."""
    if interactive:
        import readline  # noqa: F401 - gives input() a history and a movable cursor
    lines: list[str] = []
    while True:
        prompt = ("..> " if lines else "hp> ") if interactive else ""
        try:
            lines.append(input(prompt))
            is_last = False
        except KeyboardInterrupt:  # what was typed so far is given up, as in a shell
            click.echo()
            lines = []
            continue
        except EOFError:
            is_last = True
        text = "\n".join(lines).strip()
        if is_last or text.endswith(";") or text == "":
            lines = []
            if text.strip(";").strip():
                yield text
        if is_last:
            if interactive:
                click.echo()
            return


def _answer(connection: Any, query: str, form: str) -> None:
    relation = connection.sql(query)
    if relation is None:
        return
    if form == "table":
        width = terminal_width()
        relation.show(max_width=width or 100_000, max_rows=10_000, max_col_width=100_000 if width is None else width)
        return
    from hp_pipeline.outputs.summary import as_csv, as_json

    rows = _rows(relation)
    click.echo(as_json(rows) if form == "json" else as_csv(rows), nl=form == "json")


def _rows(relation: Any) -> pl.DataFrame:
    """The answer to a query, also when columns have the same name or are intervals, which polars does not know."""
    import polars as pl
    import pyarrow as pa

    table = relation.to_arrow_table()
    names: list[str] = []
    for name in table.column_names:
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
    columns = []
    for column in table.columns:
        if pa.types.is_interval(column.type):
            told = [
                None if span is None else f"{span.months} months {span.days} days {span.nanoseconds / 1e9:g} s"
                for span in column.to_pylist()
            ]
            columns.append(pa.chunked_array([pa.array(told, pa.string())]))
        else:
            columns.append(column)
    return pl.DataFrame(pa.table(columns, names=names))
