"""Writes the JPEG files of this folder: kinds that the tests' own encoder does not make. Needs Pillow (13.0.0)."""

from PIL import Image

W, H = 27, 19
rgb = Image.frombytes("RGB", (W, H), bytes((5 * x + 3 * y * c + 40 * c) % 256 for y in range(H) for x in range(W) for c in range(3)))
grey, cmyk = rgb.convert("L"), rgb.convert("CMYK")

rgb.save("420.jpg", quality=90, subsampling="4:2:0")
rgb.save("422.jpg", quality=90, subsampling="4:2:2")
rgb.save("progressive.jpg", quality=90, subsampling="4:2:0", progressive=True)
rgb.save("restarts.jpg", quality=90, restart_marker_blocks=2)
rgb.save("rgb.jpg", quality=90, keep_rgb=True)
grey.save("grey.jpg", quality=90)
grey.save("grey_progressive.jpg", quality=90, progressive=True)
cmyk.save("cmyk.jpg", quality=90)

# Large enough to be decoded at a quarter.
W, H = 64, 48
rgb = Image.frombytes("RGB", (W, H), bytes(x + y * c // 2 + 30 * c for y in range(H) for x in range(W) for c in range(3)))
rgb.save("quarter_420.jpg", quality=90, subsampling="4:2:0")
rgb.save("quarter_progressive.jpg", quality=90, subsampling="4:2:0", progressive=True)
rgb.convert("L").save("quarter_grey.jpg", quality=90)
rgb.convert("CMYK").save("quarter_cmyk.jpg", quality=90)
