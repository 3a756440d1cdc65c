"""Command ``cite``: what to cite, in BibTeX or as plain text."""

from __future__ import annotations

import dataclasses
import json

import click

from alphacryo4d.core.options import CONTEXT, json_option


@click.command(context_settings=CONTEXT)
@click.option("--bibtex", is_flag=True, help="BibTeX entries only.")
@click.option("--text", is_flag=True, help="Plain text only.")
@json_option
def cite(bibtex: bool, text: bool, as_json: bool) -> None:
    """Show the references of the method and of what it uses, as plain text and as BibTeX."""
    from alphacryo4d.tools.cite import REFERENCES

    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in REFERENCES]))
        return
    both = bibtex == text
    if text or both:
        for entry in REFERENCES:
            click.echo(f"{entry.text}\n    cite {entry.why}\n")
    if bibtex or both:
        click.echo("\n\n".join(entry.bibtex for entry in REFERENCES))
