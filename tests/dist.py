"""What `make dist` checks of the packages in dist/: ``python -m tests.dist``.

The wheel, which is made of the source package, is the one that the checkout gives; both have what they should and
nothing else; and in a fresh environment, in a folder far from the checkout, the wheel works.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
WHEEL_HAS = {"walrus_ts"}
SOURCE_HAS = {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "environment.yml", "pyproject.toml", "tests", "docs"}

# Run by the fresh environment's Python; its arguments: the checkout.
SMOKE = """
import sys
from importlib import metadata
from pathlib import Path
import pandas as pd
import walrus_ts as wts

package = Path(wts.__file__).parent
assert not package.is_relative_to(sys.argv[1]), package
assert (package / "py.typed").exists()
assert metadata.version("walrus-ts") == wts.__version__
assert metadata.metadata("walrus-ts")["License-Expression"] == "MIT"
frame = pd.DataFrame({"price": [10.5, None, 11]}, index=pd.date_range("2024-06-03 09:30", periods=3, freq="s"))
with wts.connect("embedded://") as db:
    ticks = db.time_series("research", ["ticks"])["ticks"]
    ticks.append(frame)
    pd.testing.assert_frame_equal(ticks.frame("2024-06"), frame, check_freq=False)
"""


def contents(wheel: Path) -> dict[str, bytes]:
    """Read all files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_wheel(files: Mapping[str, bytes]) -> None:
    """Check what a wheel has."""
    found = {name.split("/")[0] for name in files}
    [information] = {name for name in found if name.endswith(".dist-info")}
    assert found == {*WHEEL_HAS, information}, found
    assert "walrus_ts/py.typed" in files
    assert files[f"{information}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def check_source(package: Path) -> None:
    """Check what a source package has: what the tests need, and nothing that is only this repository's."""
    with tarfile.open(package) as archive:
        found = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert found >= SOURCE_HAS | WHEEL_HAS, found
    assert not found & {".ci", ".venv", ".venv-oldest", "dist"}, found


def check_installed(wheel: Path, folder: Path) -> None:
    """Install a wheel into an environment in a folder, and use it there."""
    venv.create(folder / "venv", with_pip=True)
    (folder / "june.csv").write_text("at,price\n2024-06-03 09:30,10.5\n2024-06-03 09:31,11\n")

    def run(program: str, *arguments: str) -> str:
        command = [folder / "venv" / "bin" / program, *arguments]
        return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    run("python", "-m", "pip", "install", "-q", "-q", f"walrus-ts[cli] @ {wheel.as_uri()}")
    run("python", "-m", "pip", "check")
    run("python", "-I", "-c", SMOKE, str(ROOT))
    assert "export" in run("walrus-ts", "--help")
    server = ["--url", f"embedded://{folder}/market"]
    assert run("walrus-ts", "load", "june.csv", "ticks", *server) == "2 rows appended to ticks\n"
    assert run("walrus-ts", "tail", "ticks", *server, "--csv").splitlines()[-1] == "2024-06-03 09:31:00.000000,11"


def main() -> None:
    """Check the packages in dist/."""
    [wheel] = (ROOT / "dist").glob("*.whl")
    [source] = (ROOT / "dist").glob("*.tar.gz")
    with TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", name, str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        [other] = folder.glob("*.whl")
        files = contents(wheel)
        assert contents(other) == files, "the source package gives another wheel than the checkout"
        check_wheel(files)
        check_source(source)
        check_installed(wheel, folder)
    print(f"{wheel.name} and {source.name}: as they should be, and the wheel works")


if __name__ == "__main__":
    main()
