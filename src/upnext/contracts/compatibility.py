"""Whether one version of a schema can read what another wrote, and what to do where not; reads no bytes and no files.

The rules are those of Avro 1.11, "Schema Resolution". The verdicts are those of Apache's own checker, but that aliases
without a namespace are taken to be in that of their type, as the standard says; the places and the advice are ours.
"""

from typing import Literal, NamedTuple, TypeAlias

from upnext.contracts.avro_types import NO_DEFAULT, PROMOTED_FROM, Field, Type, names_agree, short, writer_field

Mode: TypeAlias = Literal["backward", "forward", "full"]


class Problem(NamedTuple):
    """One reason why what a writer wrote cannot be read."""

    path: str  # the place in the schema, as in $.context{}
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.advice}"


def check(old: Type, new: Type, mode: Mode) -> list[Problem]:
    """Why `new` must not follow `old`; empty when it may.

    `backward`: the new schema reads what the old one wrote, so readers are upgraded first. `forward`: the old one
    reads what the new one writes, so writers are. `full`: both, in any order.
    """
    problems = []
    if mode in ("backward", "full"):
        problems += _Resolution("new", "old").problems(new, old, "$")
    if mode in ("forward", "full"):
        problems += _Resolution("old", "new").problems(old, new, "$")
    return problems


class _Resolution:
    """Compares a reader with a writer, each pair of types once, so that recursive types come to an end."""

    def __init__(self, reader: str, writer: str) -> None:
        self._reader = reader  # what messages call them: `old`, `new`
        self._writer = writer
        self._compared: set[tuple[Type, Type]] = set()

    def problems(self, reader: Type, writer: Type, path: str) -> list[Problem]:
        if (reader, writer) in self._compared:
            return []  # told already, or being looked at further up
        # Only named types can come again; others have no name to be found by.
        if reader.name:
            self._compared.add((reader, writer))
        if writer.kind == "union":
            return [problem for branch in writer.branches for problem in self.problems(reader, branch, path)]
        if reader.kind == "union":
            return self._union(reader, writer, path)
        if reader.kind != writer.kind:
            if writer.kind in PROMOTED_FROM.get(reader.kind, ()):
                return []
            return [self._mismatch(reader, writer, path)]
        if reader.name and not names_agree(reader, writer):
            return [self._renamed(reader, writer, path)]
        if reader.inner is not None and writer.inner is not None:
            return self.problems(reader.inner, writer.inner, path + ("[]" if reader.kind == "array" else "{}"))
        if reader.kind == "record":
            return self._record(reader, writer, path)
        return self._enum(reader, writer, path) if reader.kind == "enum" else self._fixed(reader, writer, path)

    def _record(self, reader: Type, writer: Type, path: str) -> list[Problem]:
        problems = []
        for wanted in reader.fields:
            written = writer_field(writer, wanted)
            if written is not None:
                problems += self.problems(wanted.type, written.type, f"{path}.{wanted.name}")
            elif wanted.default is NO_DEFAULT:
                problems.append(self._missing(wanted, f"{path}.{wanted.name}"))
        return problems

    def _union(self, reader: Type, writer: Type, path: str) -> list[Problem]:
        """The branch of the writer's own kind is the one to be told of; any other that reads it will do."""
        found: list[Problem] = []
        for branch in reader.branches:
            known = set(self._compared)
            problems = self.problems(branch, writer, path)
            if not problems:
                return []
            self._compared = known  # nothing is proved by a branch that is not taken
            if branch.kind == writer.kind:
                found = problems
        return found or [self._mismatch(reader, writer, path)]

    def _enum(self, reader: Type, writer: Type, path: str) -> list[Problem]:
        lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
        if not lost or reader.default in reader.symbols:
            return []
        what = f"{self._writer} has symbols that {self._reader} does not: {', '.join(lost)}"
        return [Problem(path, what, f"keep them in {self._reader}, or give its enum a default")]

    def _fixed(self, reader: Type, writer: Type, path: str) -> list[Problem]:
        if reader.size == writer.size:
            return []
        what = f"{self._writer} has {writer.size} bytes, {self._reader} {reader.size}"
        return [Problem(path, what, "keep the size, or add a field of another name")]

    def _mismatch(self, reader: Type, writer: Type, path: str) -> Problem:
        what = f"{self._writer} writes {writer.word}, which {self._reader} cannot read as {reader.word}"
        return Problem(path, what, "keep the type, widen it, or add a field of another name with a default")

    def _renamed(self, reader: Type, writer: Type, path: str) -> Problem:
        what = f"{self._writer} calls it {writer.word}, {self._reader} {reader.word}"
        return Problem(path, what, f"keep the name {short(writer.name)}, or add it to the aliases in {self._reader}")

    def _missing(self, wanted: Field, path: str) -> Problem:
        what = f"{self._reader} needs this field, and {self._writer} does not have it"
        return Problem(path, what, f"give it a default in {self._reader}")
