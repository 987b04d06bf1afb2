"""Runs a stage: ``python run.py --help``."""

from understudy.app import main

if __name__ == "__main__":
    main()
