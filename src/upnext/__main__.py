"""`python -m upnext` is the command line."""

from upnext.cli.main import main

main()
