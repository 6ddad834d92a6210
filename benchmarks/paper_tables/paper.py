"""The paper's Tables I to III, of ImageNet 10k: FID, Top-1 and Top-5 in percent."""

from __future__ import annotations

from typing import NamedTuple

_COLUMNS = ("paper's FID", "paper's Top-1, %", "paper's Top-5, %")


class Row(NamedTuple):
    """A row of the paper, with its digits."""

    fid: str
    top1: str
    top5: str

    def cells(self) -> dict[str, str]:
        """Return the row as cells, by column."""
        return dict(zip(_COLUMNS, self, strict=True))


TABLE_ONE = {
    "ground truth": Row("0", "76.88", "93.69"),
    "gray": Row("15.98", "65.84", "87.93"),
    "Zhang [6]": Row("6.12", "69.05", "89.47"),
    "Lu [18]": Row("6.48", "66.68", "87.93"),
    "Blanch [29]": Row("6.16", "68.03", "89.21"),
    "Yin [19]": Row("5.49", "66.93", "88.57"),
    "Zhao [8]": Row("4.30", "69.57", "90.18"),
    "ours": Row("3.73", "72.25", "91.25"),
}
TABLE_TWO = {
    "non-local, perceptual loss": Row("4.98", "70.75", "90.13"),
    "SPC, perceptual loss": Row("4.24", "70.88", "91.13"),
    "SPC, SMP loss": Row("3.73", "72.25", "91.25"),
}
TABLE_THREE = {
    1: Row("4.336", "71.13", "90.47"),
    2: Row("4.330", "71.22", "90.67"),
    3: Row("4.195", "71.20", "90.78"),
    5: Row("3.951", "71.46", "91.16"),
    8: Row("3.808", "71.79", "90.98"),
    10: Row("3.882", "71.71", "91.09"),
    15: Row("3.816", "71.81", "91.25"),
    20: Row("3.743", "72.07", "91.21"),
    21: Row("3.748", "71.91", "91.21"),
    22: Row("3.728", "72.25", "91.25"),
    25: Row("3.728", "72.08", "91.26"),
    27: Row("3.737", "72.10", "91.25"),
}
