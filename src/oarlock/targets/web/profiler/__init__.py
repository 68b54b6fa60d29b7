"""A model in several engines side by side in one tab: what each takes as a whole and by its steps (docs/web-profile.md)."""

from .tab import Browser, run_job

__all__ = ["Browser", "run_job"]
