"""What a person sees while a command works: steps with progress bars, tables; silent where nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)


class ScreenSteps:
    """Steps on standard error: a bar each on a terminal, else a line when a step is done."""

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        """Inside, what is returned takes (done, in all, a remark)."""
        remark = ""
        with Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[remark]}"),
            console=console,
            transient=True,
        ) as progress:
            task = progress.add_task(name, total=None, remark="")

            def show(done: int, total: int, text: str = "") -> None:
                nonlocal remark
                remark = text
                progress.update(task, completed=done, total=max(total, 1), remark=text)

            yield show
            elapsed = progress.tasks[0].elapsed or 0.0
        console.print(f"[green]✓[/green] {name:<34} {elapsed:6.1f} s  [dim]{remark}[/dim]", highlight=False)
