"""`python -m workers ...` is `nightjar ...`."""

from workers.cli import main

if __name__ == "__main__":
    main()
