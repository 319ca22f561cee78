"""Prints docs/settings.md: every setting of `upnext.settings` with its default, unit and meaning.

    python scripts/settings_table.py > docs/settings.md

Meanings are the comments beside the settings in the source.
"""

import ast
import inspect
import io
import tokenize
from typing import Any

import upnext.settings
from upnext.settings import Settings, settings_table

_UNITS = {"_ms": "ms", "_bytes": "bytes"}
# For settings whose name says it all, so that the source has no comment.
_PLAIN = {
    "trends.context_half_life_ms": "half-life of the counts by the values of `trends.contexts`",
    "trends.covisit_half_life_ms": "half-life of the counts of what was chosen next",
    "retrieval.session_vector": "as retrieval.user_vector",
    "retrieval.covisit": "as retrieval.user_vector",
    "retrieval.content": "as retrieval.user_vector",
    "retrieval.popular": "as retrieval.user_vector",
    "retrieval.trending": "as retrieval.user_vector",
    "retrieval.session_vector_weight": "as retrieval.user_vector_weight",
    "retrieval.covisit_weight": "as retrieval.user_vector_weight",
    "retrieval.session_knn_weight": "as retrieval.user_vector_weight",
    "retrieval.neighbours_weight": "as retrieval.user_vector_weight",
    "retrieval.content_weight": "as retrieval.user_vector_weight",
    "retrieval.popular_weight": "as retrieval.user_vector_weight",
    "retrieval.context_weight": "as retrieval.user_vector_weight",
    "retrieval.trending_weight": "as retrieval.user_vector_weight",
    "retrieval.fresh_weight": "as retrieval.user_vector_weight",
    "serve.host": "address to listen on",
    "serve.port": "port to listen on",
    "serve.workers": "worker processes; one per core is right",
    "serve.max_body_bytes": "largest body of a request; 413 past it",
    "serve.max_k": "largest k that may be asked for",
}
_HEAD = """\
# Settings

Made by `python scripts/settings_table.py > docs/settings.md`. Do not edit by hand.

Settings are read once, at the start. Of several sources the last wins: the defaults below, `upnext.toml` in the home
folder, the environment, `--set` on the command line. A misspelt name stops the start and says which name is near.

| where | how |
|---|---|
| `HOME/upnext.toml` | a table per group: `[ranking]`, then `top = 50` |
| environment | `UPNEXT_RANKING__TOP=50` |
| command line | `--set ranking.top=50`, as often as needed |

`upnext settings --home HOME` prints the settings in force. Settings of the models are another table, read from
`HOME/train.toml` by `upnext train`; its groups are listed in `src/upnext/cli/pipeline/plan.py`.
"""


def comments_of(source: str) -> dict[int, tuple[str, bool]]:
    """By line: the text of its comment, and whether the line holds nothing else."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def meanings(source: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """By class: the comment at each field, "" where there is none; and the first line of the class's docstring."""
    comments = comments_of(source)
    fields: dict[str, dict[str, str]] = {}
    titles: dict[str, str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        titles[node.name] = (ast.get_docstring(node) or "").partition("\n")[0]
        fields[node.name] = {
            field.target.id: _comment_at(field, comments)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
    return fields, titles


def _comment_at(field: ast.AnnAssign, comments: dict[int, tuple[str, bool]]) -> str:
    """The comment beside the field or, where there is none, the lines of comment right above it."""
    lines = range(field.lineno, (field.end_lineno or field.lineno) + 1)
    beside = [comments[line][0] for line in lines if line in comments]
    above: list[str] = []
    line = field.lineno - 1
    while not beside and line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    return " ".join(beside or above)


def meaning_of(name: str, comment: str) -> str:
    """The comment, or the plain meaning; raises `KeyError` for a setting that has neither."""
    return comment or _PLAIN[name]


def document() -> str:
    """The whole page."""
    fields, titles = meanings(inspect.getsource(upnext.settings))
    settings = Settings()
    lines = [_HEAD]
    for group in settings.__struct_fields__:
        record = type(getattr(settings, group)).__name__
        lines += [f"## {group}", "", titles[record], "", "| setting | default | unit | meaning |", "|---|---|---|---|"]
        for name, value in settings_table(settings):
            if name.startswith(f"{group}."):
                comment = fields[record][name.partition(".")[2]]
                lines.append(f"| `{name}` | `{_shown(value)}` | {_unit(name)} | {meaning_of(name, comment)} |")
        lines.append("")
    return "\n".join(lines)


def _unit(name: str) -> str:
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")


def _shown(value: Any) -> str:
    """As TOML spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


if __name__ == "__main__":
    print(document(), end="")
