"""`upnext completion`: the script by which a shell completes commands, options, files, releases and settings."""

import click
from click.shell_completion import get_completion_class

PROGRAM, VARIABLE = "upnext", "_UPNEXT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete what is typed after `upnext`.

    Beside commands, options and files it completes releases (after --home, or where UPNEXT_HOME is set) and settings
    with their defaults (after --set).

    \b
    Examples:
      upnext completion bash > ~/.local/share/bash-completion/completions/upnext
      upnext completion zsh > ~/.zfunc/_upnext
      upnext completion fish > ~/.config/fish/completions/upnext.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None  # click has these three
    # `source` would run the shell for its version; the script says so itself where it is too old.
    made = completion(context.find_root().command, {}, PROGRAM, VARIABLE)
    click.echo(made.source_template % made.source_vars())
