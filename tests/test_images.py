"""Images: every depth and format becomes the 8 bit that PyPTV makes of it, and a damaged file is an error that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pyptv.core.base.errors import FrameError
from pyptv.core.experiment.folder import ImageSettings
from pyptv.core.experiment.image_files import image_kind
from pyptv.core.experiment.images import (
    highest_value,
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
        np.testing.assert_array_equal(only_view(path, ImageSettings(WIDTH, HEIGHT, eight_bit_values=(True,))), grey)
        assert only_view(path).max() == 0

    def test_a_bright_image_among_those_with_eight_bit_values(self, grey, save):
        deep = grey.astype(np.uint16)
        deep[3, 4] = 300
        with pytest.raises(FrameError, match=r"cam1\.10000: found a value of 300 in a 16-bit sequence whose other images stay"):
            only_view(save(deep), ImageSettings(WIDTH, HEIGHT, eight_bit_values=(True,)))

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

    def test_thirty_two_bit_out_of_range(self, grey, save):
        image = grey.astype(np.int32) + 70_000
        with pytest.raises(FrameError, match=r"found values 7\d{4} to 7\d{4}, expected 8 or 16 bit"):
            only_view(save(Image.fromarray(image)))


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

    def test_a_sixteen_bit_mask(self, grey, save):
        np.testing.assert_array_equal(read_mask(save(grey.astype(np.uint16)), SETTINGS), grey)
        np.testing.assert_array_equal(read_mask(save(grey.astype(np.uint16) << 8, "b"), SETTINGS), grey)

    def test_the_stamp_is_that_of_the_file(self, grey, save):
        path = save(grey)
        _, stamp = read_views(path, SETTINGS)
        assert stamp == (path.stat().st_size, path.stat().st_mtime_ns, zlib.crc32(path.read_bytes()))

    def test_split_needs_no_copy_of_a_single_view(self, grey):
        assert [view.shape for view in split(grey)] == [(HEIGHT // 2, WIDTH // 2)] * 4


class TestSixteenBitDecision:
    def test_the_highest_value_decides_how_a_sequence_is_read(self, tmp_path):
        path = tmp_path / "image"
        Image.fromarray(np.array([[0, 300], [7, 12]], np.uint16)).save(path, "TIFF")
        assert highest_value(path) == 300


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
    assert image_kind(save(grey), (WIDTH, HEIGHT)) == "L"
    path = save(grey.astype(np.uint16), compression="tiff_lzw")
    assert image_kind(path, (WIDTH, HEIGHT)).startswith("I")


def test_real_images_are_read_as_they_are(shared):
    path = shared / "data" / "test_cavity" / "img" / "cam1.10000"
    pixels, _ = read_image(path, (1280, 1024))
    assert pixels.shape == (1024, 1280)
    assert pixels.dtype == np.uint8
