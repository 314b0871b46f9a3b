"""The benchmark of the tab runs and leaves its file. No timing is tested: it would be noise."""

import json
import subprocess
import sys

from command_line import ROOT, environment


def test_every_route_is_timed_and_kept(tmp_path):
    file = tmp_path / "new" / "tab.json"
    size = ["--runs", "2", "--sites", "3", "--steps", "20", "--repeats", "0", "--loader", "python"]
    command = [sys.executable, "-m", "benchmarks.tensorboard_tab", *size, "--out", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment())
    assert done.returncode == 0, done.stderr
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert (kept["runs"], kept["sites"], kept["steps"]) == (2, 3, 20)
    [result] = kept["results"]
    assert (result["loader"], result["browser"]) == ("python", None)
    asked = {name.split()[0] for name in result["routes"]}
    assert asked == {"runs", "document", "matrix", "waterfall", "units", "series"}
    assert all(route["bytes"] > 100 and route["first_s"] > 0 for route in result["routes"].values())
    assert file.read_text(encoding="utf-8").count(str(ROOT)) == 0
