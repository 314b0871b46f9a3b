"""Make gradscope/digits.npz, the data set that ships inside the package, from scikit-learn's copy of it.

    python scripts/make_digits.py [OUT.npz]        # needs scikit-learn; gradscope itself does not

Source:   the test part of "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
          https://doi.org/10.24432/C50P49; 1,797 digits of 13 writers, 8 x 8 pixels, each the count 0..16 of black pixels in a
          4 x 4 block of the scan.
Licence:  CC BY 4.0, https://creativecommons.org/licenses/by/4.0/
Citation: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository;
          E. Alpaydin and C. Kaynak (1998), Cascading classifiers, Kybernetika 34(4), 369-374.
Changes:  float64 became uint8 (every value is a whole number, which is checked here); the order is scikit-learn's.

Every member of the archive carries the same date, so the same zlib gives the same bytes on every run.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

PACKAGE_FILE = Path(__file__).resolve().parent.parent / "gradscope" / "digits.npz"
DATE = (1998, 7, 1, 0, 0, 0)  # the data set's own


def digits_arrays():
    """Return the arrays `images` uint8 [1797, 8, 8] with values 0..16, and `labels` uint8 [1797] with values 0..9."""
    source = load_digits()
    images, labels = source.images.astype(np.uint8), source.target.astype(np.uint8)
    assert (images.shape, labels.shape) == ((1797, 8, 8), (1797,))
    assert np.array_equal(images, source.images), "a pixel was rounded or wrapped"
    assert np.array_equal(labels, source.target), "a label was rounded or wrapped"
    return {"images": images, "labels": labels}


def npz_bytes(arrays):
    """Return `arrays` as a compressed npz archive that does not depend on the time of day."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", DATE)
            member.create_system = 3  # else it names the operating system that the script ran on
            members.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return archive.getvalue()


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE_FILE
    content = npz_bytes(digits_arrays())
    out.write_bytes(content)
    print(f"{out}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
