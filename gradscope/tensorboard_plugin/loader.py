"""What TensorBoard loads at its start, by an entry point: small, and it never raises."""

from __future__ import annotations

import argparse
import logging

from tensorboard.plugins.base_plugin import TBContext, TBLoader, TBPlugin  # type: ignore[import-untyped]

NAME = "gradscope"
SAMPLES = 2000  # events kept per tag; without this TensorBoard keeps 100 by chance, with its slower loader 10


class GradscopeLoader(TBLoader):  # type: ignore[misc]
    """Makes the tab, and has TensorBoard keep enough of its data."""

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Raise the number of events that are kept per tag of the tab's, unless the user has set it."""
        samples = getattr(flags, "samples_per_plugin", None)
        if isinstance(samples, dict):
            samples.setdefault(NAME, SAMPLES)

    def load(self, context: TBContext) -> TBPlugin | None:
        """Return the plugin, or None with a warning where it cannot be made: TensorBoard goes on without it."""
        try:
            from gradscope.tensorboard_plugin.plugin import GradscopePlugin

            return GradscopePlugin(context)
        except Exception as error:
            logging.getLogger(__name__).warning("the Gradscope tab is not shown: %s: %s", type(error).__name__, error)
            return None
