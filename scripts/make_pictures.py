"""Draw the README's picture from a saved run: verdict, origins with their causes, and fixes, so that it fits on a screen.

python scripts/make_pictures.py RUN docs/diagnose.svg
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from gradscope.renderers.console import print_report
from gradscope.report import load_report


def draw(run: Path) -> str:
    """Return the diagnosis of a run as SVG."""
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    whole = load_report(run)
    left_out = {"waterfalls": [], "hypotheses": [], "findings": [one for one in whole.findings if one.role == "origin"]}
    print_report(whole.model_copy(update=left_out), console=console, run_folder=Path("runs") / run.parent.name / run.name)
    picture = console.export_svg(title="gradscope diagnose recipes/sigmoid_relu.yaml (shortened)")
    return re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # fonts from the network


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(Path(sys.argv[1])), encoding="utf-8")
