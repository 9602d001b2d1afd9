"""``curate schema FORMAT``: the JSON Schema of a record format, or of a selection policy."""

from __future__ import annotations

import click


@click.command()
@click.argument("format_name", metavar="FORMAT", required=False)
def command(format_name: str | None) -> None:
    """Print the JSON Schema of a record FORMAT, or of a `policy`; without one, list the formats."""
    from curate.cli.console import print_json
    from curate.schemas import FORMATS

    if format_name is None:
        for name, model in FORMATS.items():
            click.echo(f"{name:15} {(model.__doc__ or '').splitlines()[0].replace('``', '')}")
        click.echo(f"{'policy':15} What a selection keeps, how often, and why (curate select --policy).")
        return
    if format_name == "policy":
        from curate.select import Policy

        schema = Policy.model_json_schema()
    elif format_name in FORMATS:
        schema = FORMATS[format_name].model_json_schema()
    else:
        known = ", ".join([*FORMATS, "policy"])
        raise click.BadParameter(f"no format {format_name!r}; there are: {known}", param_hint="FORMAT")
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
