"""``python -m dash_user_tracker`` is the ``dash-user-tracker`` command."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="python -m dash_user_tracker")
