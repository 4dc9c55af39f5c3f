"""Images: every depth and format becomes the 8 bit that PyPTV makes of it, and a damaged file is an error that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from damaged_images import HEIGHT as DAMAGED_HEIGHT
from damaged_images import WIDTH as DAMAGED_WIDTH
from damaged_images import damaged_file, whole_files
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import GreyDepths, ImageSettings
from pyptv.core.images.image_files import Stored, image_kind
from pyptv.core.images.pixels import (
    read_image,
    read_mask,
    read_views,
    split,
    subtract_mask,
    to_eight_bit,
)

WIDTH, HEIGHT = 60, 52
SETTINGS = ImageSettings(WIDTH, HEIGHT)


@pytest.fixture
def grey():
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Saves an image under a name without an extension."""

    def save(image, name="cam1.10000", **options):
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(tmp_path / name, **({"format": "TIFF"} | options))
        return tmp_path / name

    return save


def only_view(path: Path, settings: ImageSettings = SETTINGS) -> np.ndarray:
    (view,), _ = read_views(path, settings)
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    return view


class TestDepths:
    @pytest.mark.parametrize("kind", ["TIFF", "PNG", "BMP", "PPM", "GIF"])
    def test_eight_bit_in_any_format_without_an_extension(self, grey, save, kind):
        np.testing.assert_array_equal(only_view(save(grey, format=kind)), grey)

    @pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
    def test_compressed_tiff(self, grey, save, compression):
        np.testing.assert_array_equal(only_view(save(grey, compression=compression)), grey)

    @pytest.mark.parametrize("kind", ["TIFF", "PNG"])
    def test_sixteen_bit(self, grey, save, kind):
        deep = grey.astype(np.uint16) * 256 + 255
        np.testing.assert_array_equal(only_view(save(deep, format=kind)), grey)

    def test_big_endian_sixteen_bit(self, grey, save):
        deep = (grey.astype(np.uint16) << 8 | 7).astype(">u2")
        image = Image.frombytes("I;16B", (WIDTH, HEIGHT), deep.tobytes())
        path = save(image)
        assert path.read_bytes()[:2] in (b"MM", b"II")
        np.testing.assert_array_equal(only_view(path), grey)
        np.testing.assert_array_equal(to_eight_bit(deep), grey)

    def test_sixteen_bit_files_with_eight_bit_values(self, grey, save):
        path = save(grey.astype(np.uint16))
        np.testing.assert_array_equal(only_view(path, ImageSettings(WIDTH, HEIGHT, grey=GreyDepths((8,)))), grey)
        assert only_view(path).max() == 0

    def test_a_bright_image_among_those_with_eight_bit_values(self, grey, save):
        deep = grey.astype(np.uint16)
        deep[3, 4] = 300
        with pytest.raises(
            FrameError, match=r"cam1\.10000: found a value of 300, expected at most 255, because the images are taken as 8-bit"
        ):
            only_view(save(deep), ImageSettings(WIDTH, HEIGHT, grey=GreyDepths((8,))))

    def test_one_bit(self, grey, save):
        bits = grey > 128
        np.testing.assert_array_equal(only_view(save(Image.fromarray(bits))), bits * np.uint8(255))

    def test_float(self, grey, save):
        path = save((grey / 255).astype(np.float32))
        np.testing.assert_array_equal(only_view(path), grey)

    @pytest.mark.parametrize("value", [1.5, -0.1, np.nan, np.inf])
    def test_float_out_of_range(self, grey, save, value):
        image = (grey / 255).astype(np.float32)
        image[0, 0] = value
        with pytest.raises(FrameError, match=r"found floating point values .* expected 0 to 1"):
            only_view(save(image))


PIXELS_AT = 40_000


def tiff(pixels: np.ndarray, **tags: int | tuple[int, ...]) -> bytes:
    """A TIFF file of one strip with tags that Pillow does not write: ``t262=0``."""
    of_kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    values = {256: pixels.shape[1], 257: pixels.shape[0], 258: 8 * pixels.dtype.itemsize, 259: 1, 262: 1, 277: 1, 339: of_kind}
    values |= {278: pixels.shape[0], 279: pixels.nbytes, 273: PIXELS_AT} | {int(name[1:]): value for name, value in tags.items()}
    head, long = b"II*\0" + struct.pack("<IH", 8, len(values)), b""
    for number, value in sorted(values.items()):
        numbers = struct.pack(f"<{len(value)}I", *value) if isinstance(value, tuple) else struct.pack("<I", value)
        head += struct.pack("<HHI", number, 4, len(numbers) // 4)
        head += numbers if len(numbers) == 4 else struct.pack("<I", 14 + 12 * len(values) + len(long))
        long += numbers if len(numbers) > 4 else b""
    head += bytes(4) + long
    assert len(head) <= PIXELS_AT
    return head.ljust(PIXELS_AT, b"\0") + pixels.tobytes()


_DOWN = tuple(range(65_535, -1, -257)) * 3
"""A palette that makes white of 0."""


class TestDialects:
    """Grey values as PyPTV 0.4.3 reads them, measured with imageio 2.38, tifffile 2026.3 and Pillow 13.

    It reads names that end in .tif with tifffile, all others with Pillow.
    """

    @pytest.mark.parametrize(
        "case",
        [
            ("a.tif", "u1", {"t262": 0}, lambda a: a, "0 is white: the stored values are taken"),
            ("a.TIFF", "u1", {"t262": 0}, lambda a: a, "0 is white: the stored values are taken"),
            ("a.10001", "u1", {"t262": 0}, lambda a: 255 - a, "0 is white: inverted"),
            ("a.tif", "u2", {"t262": 0}, lambda a: a, "0 is white: the stored values are taken"),
            ("a.10001", "u2", {"t262": 0}, lambda a: a, "0 is white: the stored values are taken"),
            ("a.tif", "u1", {"t262": 3, "t320": _DOWN}, lambda a: a, "a palette: its colours are left out"),
            ("a.10001", "u1", {"t262": 3, "t320": _DOWN}, lambda a: 255 - a, None),
            ("a.tif", "u1", {"t262": 3, "t320": tuple(range(0, 65_536, 257)) * 3}, lambda a: a, None),
            ("a.tif", "u1", {"t274": 3}, lambda a: a, "the orientation 3: not turned"),
            ("a.10001", "u1", {"t274": 3}, lambda a: a[::-1, ::-1], None),
            ("a.tif", "i2", {}, lambda a: a, "signed values: what is below 0 becomes 0"),
            ("a.tif", "u4", {}, lambda a: a, None),
            ("a.tif", "f4", {}, lambda a: a, None),
        ],
        ids=lambda case: f"{case[0]} {case[1]} {list(case[2])}",
    )
    def test_of_tiff(self, grey, tmp_path, case):
        name, kind, tags, made, note = case
        stored = {"u1": grey, "u2": grey.astype("<u2") * 257, "i2": grey.astype("<i2") * 128}
        stored |= {"u4": grey.astype("<u4") << 24, "f4": (grey / 255).astype("<f4")}
        path = tmp_path / name
        path.write_bytes(tiff(stored[kind], **tags))
        np.testing.assert_array_equal(only_view(path), made(grey))
        notes = image_kind(path, (WIDTH, HEIGHT)).notes
        assert len(notes) == (note is not None)
        assert note is None or note in notes[0]

    def test_negative_values_are_black(self, grey, tmp_path):
        path = tmp_path / "a.tif"
        path.write_bytes(tiff(grey.astype("<i2") * 128 - 5000))
        np.testing.assert_array_equal(only_view(path), np.maximum(grey.astype(int) * 128 - 5000, 0) >> 7)

    @pytest.mark.parametrize(
        ("kind", "said"), [("i1", "found signed values of 8 bits"), ("<f8", "1 x 64 bits of a kind that is")]
    )
    def test_what_is_not_read_is_named(self, grey, tmp_path, kind, said):
        (tmp_path / "a.tif").write_bytes(tiff((grey // 2).astype(kind)))
        with pytest.raises(FrameError, match=said):
            only_view(tmp_path / "a.tif")

    @pytest.mark.parametrize("largest", [4095, 65_535])
    def test_pgm_says_itself_what_is_white(self, grey, tmp_path, largest):
        path = tmp_path / "a.pgm"
        values = np.rint(grey * (largest / 255)).astype(">u2")
        path.write_bytes(b"P5 %d %d %d\n" % (WIDTH, HEIGHT, largest) + values.tobytes())
        assert np.abs(only_view(path).astype(int) - grey).max() <= 1
        if largest == 4095:  # the statement is about files that do not say it
            assert np.abs(only_view(path, ImageSettings(WIDTH, HEIGHT, grey=GreyDepths((12,)))).astype(int) - grey).max() <= 1

    def test_16_bit_colours_cannot_be_taken_as_less(self, tmp_path):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
        data = tiff(np.zeros((HEIGHT, WIDTH * 3), "<u2"), t256=WIDTH, t277=3, t262=2, t258=(16, 16, 16), t339=(1, 1, 1))
        (tmp_path / "a.tif").write_bytes(data)
        assert image_kind(tmp_path / "a.tif", (WIDTH, HEIGHT)) == Stored(16, colours=True)
        settings = ImageSettings(WIDTH, HEIGHT, grey=GreyDepths((12,)))
        with pytest.raises(FrameError, match="found 16-bit colours, expected grey or 8-bit colours"):
            only_view(tmp_path / "a.tif", settings)
        only_view(tmp_path / "a.png", settings)


class TestColours:
    """The expected values are those of scikit-image's rgb2gray, times 255, rounded."""

    @pytest.fixture
    def rgb(self):
        return np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)

    @staticmethod
    def luma(rgb: np.ndarray) -> np.ndarray:
        return np.rint((rgb / 255) @ [0.2125, 0.7154, 0.0721] * 255)

    def test_rgb(self, rgb, save):
        grey = only_view(save(rgb))
        assert np.abs(grey - self.luma(rgb)).max() <= 1
        assert np.mean(grey == self.luma(rgb)) > 0.999

    @pytest.mark.parametrize(("colour", "grey"), [((255, 0, 0), 54), ((0, 255, 0), 182), ((0, 0, 255), 18), ((9, 9, 9), 9)])
    def test_pure_colours(self, save, colour, grey):
        assert set(only_view(save(Image.new("RGB", (WIDTH, HEIGHT), colour))).flat) == {grey}

    @pytest.mark.parametrize("kind", ["TIFF", "PNG"])
    def test_opacity_is_left_out(self, rgb, save, kind):
        rgba = np.dstack([rgb, np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)])
        expected = only_view(save(rgb, "without"))
        np.testing.assert_array_equal(only_view(save(rgba, format=kind)), expected)

    def test_grey_with_opacity(self, grey, save):
        image = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (WIDTH, HEIGHT), 7)])
        np.testing.assert_array_equal(only_view(save(image, format="PNG")), grey)

    def test_a_palette_gives_its_colours(self, save):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([0, 0, 0, 255, 0, 0])
        for kind in ("PNG", "TIFF", "GIF"):
            assert set(only_view(save(image, format=kind)).flat) == {54}

    def test_a_palette_with_opacity(self, save):
        image = Image.new("P", (WIDTH, HEIGHT), 1)
        image.putpalette([0, 0, 0, 255, 0, 0])
        assert set(only_view(save(image, format="PNG", transparency=bytes([0, 128]))).flat) == {54}
        assert set(only_view(save(image.convert("PA"))).flat) == {54}


class TestSteps:
    def test_negative(self, grey, save):
        np.testing.assert_array_equal(only_view(save(grey), ImageSettings(WIDTH, HEIGHT, negative=True)), 255 - grey)

    def test_views_of_a_split_image_in_camera_order(self, save):
        whole = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
        whole[:HEIGHT, WIDTH:], whole[HEIGHT:, WIDTH:], whole[HEIGHT:, :WIDTH] = 2, 3, 4
        whole[:HEIGHT, :WIDTH] = 1
        views, _ = read_views(save(whole), ImageSettings(WIDTH, HEIGHT, split=True))
        assert [set(view.flat) for view in views] == [{1}, {2}, {3}, {4}]
        assert all(view.shape == (HEIGHT, WIDTH) and view.flags.c_contiguous for view in views)

    def test_split_and_negative(self, save):
        whole = np.full((2 * HEIGHT, 2 * WIDTH), 5, np.uint8)
        views, _ = read_views(save(whole), ImageSettings(WIDTH, HEIGHT, split=True, negative=True))
        assert [set(view.flat) for view in views] == [{250}] * 4

    def test_mask(self, save):
        mask = read_mask(save(np.full((HEIGHT, WIDTH), 200, np.uint8)), SETTINGS)
        image = np.full((HEIGHT, WIDTH), 201, np.uint8)
        image[0] = 10
        difference = subtract_mask(image, mask)
        assert difference.dtype == np.uint8
        assert set(difference[0]) == {0}
        assert set(difference[1:].flat) == {1}

    def test_a_sixteen_bit_mask_means_what_its_images_mean(self, grey, save):
        of_8, of_12 = (ImageSettings(WIDTH, HEIGHT, grey=GreyDepths((d,) * 4, (d,) * 4)) for d in (8, 12))
        np.testing.assert_array_equal(read_mask(save(grey.astype(np.uint16)), of_8, 3), grey)
        np.testing.assert_array_equal(read_mask(save(grey.astype(np.uint16) << 4, "b"), of_12), grey)
        np.testing.assert_array_equal(read_mask(save(grey.astype(np.uint16) << 8, "c"), SETTINGS), grey)

    def test_the_stamp_is_that_of_the_file(self, grey, save):
        path = save(grey)
        _, stamp = read_views(path, SETTINGS)
        assert stamp == (path.stat().st_size, path.stat().st_mtime_ns, zlib.crc32(path.read_bytes()))

    def test_split_needs_no_copy_of_a_single_view(self, grey):
        assert [view.shape for view in split(grey)] == [(HEIGHT // 2, WIDTH // 2)] * 4


class TestBadFiles:
    @staticmethod
    def refusal(path: Path, settings: ImageSettings = SETTINGS) -> str:
        with pytest.raises(FrameError) as caught:
            read_views(path, settings)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value).removeprefix(f"{path}: ")

    def test_missing(self, tmp_path):
        assert self.refusal(tmp_path / "cam1.10000") == "image does not exist"

    def test_empty(self, tmp_path):
        (tmp_path / "a").write_bytes(b"")
        assert self.refusal(tmp_path / "a") == "the file is empty"

    def test_not_an_image(self, tmp_path):
        (tmp_path / "a.tif").write_bytes(b"certainly not an image")
        assert self.refusal(tmp_path / "a.tif").endswith("not an image (TIFF, PNG, BMP, JPEG, PPM, GIF, JPEG2000, WEBP)")

    def test_a_folder(self, tmp_path):
        assert "found a folder, expected a file" in self.refusal(tmp_path)

    @pytest.mark.parametrize("size", [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT - 1), (HEIGHT, WIDTH)])
    def test_wrong_size(self, save, size):
        path = save(Image.new("L", size))
        width, height = size
        assert self.refusal(path) == (
            f"found an image of {width} x {height} px, expected {WIDTH} x {HEIGHT} (imx, imy of section ptv)"
        )
        with pytest.raises(FrameError, match="found an image of"):
            image_kind(path, (WIDTH, HEIGHT))

    def test_the_size_of_a_split_image_is_that_of_all_views(self, grey, save):
        message = self.refusal(save(grey), ImageSettings(WIDTH, HEIGHT, split=True))
        assert message.startswith(f"found an image of {WIDTH} x {HEIGHT} px, expected {2 * WIDTH} x {2 * HEIGHT}")

    @pytest.mark.parametrize(
        "options", [{}, {"compression": "tiff_lzw"}, {"format": "PNG"}, {"format": "BMP"}, {"format": "JPEG"}]
    )
    def test_truncated_anywhere(self, grey, save, options):
        path = save(grey, **options)
        data = path.read_bytes()
        whole = only_view(path)
        for length in range(0, len(data), max(1, len(data) // 60)):
            path.write_bytes(data[:length])
            try:
                view = only_view(path)
            except FrameError as error:
                assert str(error).startswith(str(path))  # noqa: PT017 -- a cut end may hold nothing of the picture
            else:
                np.testing.assert_array_equal(view, whole)

    def test_a_bomb_is_refused_by_its_header(self, tmp_path):
        """A PNG of a few bytes that says it holds 10^10 pixels."""

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
        path = tmp_path / "bomb"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
        assert "image" in self.refusal(path)

    def test_images_may_be_larger_than_pillows_own_limit(self, grey, save, monkeypatch):
        """179 megapixels, above which it speaks of bombs; the parameters say how large images are."""
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        for number, options in enumerate([{}, {"compression": "tiff_lzw"}, {"format": "PNG"}, {"format": "BMP"}]):
            path = save(grey, f"{number}", **options)
            np.testing.assert_array_equal(only_view(path), grey)
        assert Image.MAX_IMAGE_PIXELS == 1000

    @pytest.mark.parametrize(
        ("tags", "said"),
        [
            ({"t278": 1, "t273": (PIXELS_AT,) * 9000}, "found 9000 values of type 4 in tag 273"),
            ({"t278": 1, "t273": (PIXELS_AT,) * 10}, "found 10 strips or tiles, expected 52"),
            ({"t259": 5, "t279": 2_000_000_000}, "the compressed image is larger than it would be without compression"),
            ({"t278": 26, "t273": (PIXELS_AT, 2_000_000)}, "the strips of the image are scattered"),
            ({"t273": 2_000_000_000}, "it refers to data beyond its end"),
            ({"t322": 1, "t323": 1, "t324": (PIXELS_AT,) * 20, "t325": (1,) * 20}, "found tiles of 1 x 1 px"),
            ({"t322": 2**30, "t323": 2**30, "t324": PIXELS_AT, "t325": 9}, "found tiles of 1073741824 x 1073741824 px"),
            ({"t259": 6}, "found the TIFF compression 6, which is not read"),
            ({"t277": 65_000}, "found 65000 channels of 8 bits"),
        ],
    )
    def test_hostile_tags(self, grey, tmp_path, tags, said):
        path = tmp_path / "a.tif"
        path.write_bytes(tiff(grey, **tags) + bytes(1_500_000 * ("scattered" in said)))
        assert said in self.refusal(path)

    def test_a_directory_of_ten_thousand_tags(self, grey, tmp_path):
        """Each claims the whole file: older versions of Pillow took 14 GB and two minutes for 84 kB."""
        data = bytearray(tiff(grey))
        (offset,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, offset)
        known = bytes(data[offset + 2 : offset + 2 + 12 * count])
        struct.pack_into("<I", data, 4, len(data))
        many = b"".join(struct.pack("<HHII", 1000 + i, 3, 40_000, 0) for i in range(6500))
        path = tmp_path / "a.tif"
        path.write_bytes(data + struct.pack("<H", count + 6500) + known + many)
        assert f"found {count + 6500} tags in a directory, expected at most 1000" in self.refusal(path)

    @pytest.mark.parametrize("following", [8, 50_000_000, 39_990])
    def test_what_follows_the_last_page_may_be_anything(self, grey, tmp_path, following):
        """A directory that follows itself, one behind the end of the file, one of zeros."""
        data = bytearray(tiff(grey))
        (count,) = struct.unpack_from("<H", data, 8)
        struct.pack_into("<I", data, 10 + 12 * count, following)
        path = tmp_path / "a.tif"
        path.write_bytes(data)
        first, second = (ImageSettings(WIDTH, HEIGHT, grey=GreyDepths(page=page)) for page in (1, 2))
        np.testing.assert_array_equal(only_view(path, first), grey)
        said = {8: "its directories form a circle", 50_000_000: "data beyond its end"}
        assert said.get(following, "found an image of 0 x 0 px") in self.refusal(path, second)
        if following == 8:
            assert "found several pages" in self.refusal(path)
        else:
            np.testing.assert_array_equal(only_view(path), grey)

    def test_metadata_of_jpeg_files_is_not_read(self, save):
        """Exif holds directories as hostile as those of TIFF; Adobe's segment, which tells the colours, stays."""
        plain = save(Image.new("CMYK", (WIDTH, HEIGHT), (9, 99, 60, 30)), format="JPEG")
        wanted = only_view(plain)
        data = plain.read_bytes()
        exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + struct.pack("<HHII", 1000, 3, 30_000, 0) * 5000
        assert b"\xff\xee" in data
        plain.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + b"\xff\xff" + data[2:])
        np.testing.assert_array_equal(only_view(plain), wanted)

    def test_a_jpeg_file_of_many_scans(self, save):
        path = save(Image.new("RGB", (WIDTH, HEIGHT)), format="JPEG", progressive=True)
        data = path.read_bytes()
        path.write_bytes(data[:-2] + data[data.index(b"\xff\xda") : -2] * 100 + data[-2:])
        assert "scans, expected at most 100" in self.refusal(path)

    def test_far_more_bytes_than_the_image_needs(self, grey, save):
        path = save(grey, format="PNG")
        with path.open("ab") as file:
            file.truncate(2**28)
        assert "found 268435456 bytes, expected at most" in self.refusal(path)

    @pytest.mark.parametrize("part", range(4))
    def test_damaged_files_of_every_format(self, tmp_path, part):
        """Some of those that tests/benchmarks/fuzz_images.py opens: an image, or one line that names the file."""
        outcomes = set()
        for number in range(part, 400, 4):
            name, data = damaged_file(number)
            path = tmp_path / ("a.tif" if number % 8 < 4 and name.startswith("tiff") else "a")
            path.write_bytes(data)
            settings = ImageSettings(DAMAGED_WIDTH, DAMAGED_HEIGHT, grey=GreyDepths(page=(None, 1, 2)[number % 3]))
            try:
                (view,), _ = read_views(path, settings)
            except FrameError as error:
                outcomes.add("error")
                message = str(error)
                assert message == f"{path}: {message.removeprefix(f'{path}: ')}".splitlines()[0], name
            else:
                outcomes.add("image")
                assert (view.shape, view.dtype) == ((DAMAGED_HEIGHT, DAMAGED_WIDTH), np.uint8), name
        assert outcomes == {"image", "error"}

    @pytest.mark.parametrize("name", sorted(whole_files()))
    def test_whole_files_of_every_format(self, tmp_path, name):
        """What the damaged ones are made of can be read."""
        (tmp_path / "a").write_bytes(whole_files()[name])
        settings = ImageSettings(
            DAMAGED_WIDTH, DAMAGED_HEIGHT, grey=GreyDepths(page=1 if "p" in name.split("-")[-1][0] else None)
        )
        assert only_view(tmp_path / "a", settings).max() > 200

    def test_postscript_is_not_run(self, tmp_path):
        proof = tmp_path / "proof"
        path = tmp_path / "a.eps"
        program = f"({proof}) (w) file closefile showpage"
        path.write_text(f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {WIDTH} {HEIGHT}\n%%EndComments\n{program}\n%%EOF\n")
        assert "not an image" in self.refusal(path)
        assert not proof.exists()

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a"]),
    )
    def test_random_bytes(self, data, start):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "image"
            path.write_bytes(start + data)
            with pytest.raises(FrameError):
                read_views(path, SETTINGS)


def test_the_kind_of_an_image_is_told_without_decoding(grey, save):
    assert image_kind(save(grey), (WIDTH, HEIGHT)) == Stored(8)
    path = save(grey.astype(np.uint16), compression="tiff_lzw")
    assert image_kind(path, (WIDTH, HEIGHT)) == Stored(16)


def test_real_images_are_read_as_they_are(shared):
    path = shared / "data" / "test_cavity" / "img" / "cam1.10000"
    pixels, _, _ = read_image(path, (1280, 1024))
    assert pixels.shape == (1024, 1280)
    assert pixels.dtype == np.uint8
