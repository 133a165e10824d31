"""`python -m armt`: the command line."""

from armt.cli import main

if __name__ == "__main__":
    main()
