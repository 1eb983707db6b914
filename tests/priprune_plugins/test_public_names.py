"""The public names of the package."""

import subprocess
import sys


def test_importing_the_public_names_imports_no_torch() -> None:
    program = "import sys, priprune_plugins; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
