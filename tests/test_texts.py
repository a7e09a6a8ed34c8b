"""Names from outside, and sentences that hold them."""

from __future__ import annotations

import pytest

from rotacube.errors import LONGEST, OutputUnwritable, RequestRefused, RotacubeError
from rotacube.texts import CRS, PATH, check_crs, check_output_name, check_raster, trouble


@pytest.mark.parametrize(
    "text", ["", "a.tif", "/a/b/c.tif", "a" * 255, "\u00e9" * 127, "a\nb.tif", "/".join(["a" * 200] * 20)]
)
def test_names_that_files_can_have_are_taken(text):
    assert trouble(text) is None


@pytest.mark.parametrize(
    "text", ["a\0.tif", "\ud800", "a\udcff.tif", "a" * 256, "\u00e9" * 128, "b/" + "a" * 256, "a/" * 2049]
)
@pytest.mark.parametrize(("check", "error"), [(check_raster, RequestRefused), (check_output_name, OutputUnwritable)])
def test_names_that_no_file_can_have_are_refused_in_a_sentence(text, check, error):
    with pytest.raises(error, match=r"'s name '.*' (has|is) .*\. Choose another, or rename it\.$"):
        check(text)


def test_addresses_have_long_parts_and_a_crs_is_long():
    query = "?token=" + "a" * 1000
    for raster in (f"https://example.org/a.tif{query}", f"/vsicurl/https://example.org/a.tif{query}"):
        check_raster(raster)
    check_crs("a" * CRS)
    for check, text in ((check_raster, "/vsicurl/" + "a" * PATH), (check_crs, "a" * (CRS + 1)), (check_crs, "\ud800")):
        with pytest.raises(RequestRefused):
            check(text)


def test_a_sentence_is_one_printable_line_and_not_endless():
    told = RotacubeError("There is no 'a\nb\x1b[31m\ud800\u202e\0' here.").message
    assert told == r"There is no 'a\nb\x1b[31m\ud800\u202e\x00' here."
    told = RotacubeError(f"There is no '{'a' * 10**6}'. Choose another.").message
    assert len(told) < LONGEST + 10 and told.startswith("There is no 'a") and told.endswith("a'. Choose another.")
    assert (
        RotacubeError("\u0411\u0430\u0437\u0435\u043b\u044c, \u091b\u0924, caf\u00e9.").message
        == "\u0411\u0430\u0437\u0435\u043b\u044c, \u091b\u0924, caf\u00e9."
    )
