//! An RGB picture to draw on.

use std::convert::Infallible;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_10X20;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use fieldmark::Frame;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageResult};

/// Width of a letter and height of a line, before zoom.
pub const LETTER: (u32, u32) = (10, 20);

/// An RGB picture to draw on. What is drawn outside is lost, without error.
pub struct Canvas {
    width: u32,
    height: u32,
    /// R, G, B, R, ... in rows from the top.
    pixels: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: u32, height: u32, ground: Rgb888) -> Canvas {
        let colour = [ground.r(), ground.g(), ground.b()];
        Canvas { width, height, pixels: colour.repeat(width as usize * height as usize) }
    }

    /// A canvas that shows the frame.
    pub fn of(frame: &Frame) -> Canvas {
        Canvas { width: frame.width(), height: frame.height(), pixels: frame.pixels().to_vec() }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of a pixel.
    ///
    /// # Panics
    /// Panics outside the canvas.
    #[cfg(test)]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        assert!(x < self.width && y < self.height, "pixel {x}, {y}");
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Copies `other` into the first rows, starting at column `left`, where it must fit.
    pub fn place_at_top(&mut self, other: &Canvas, left: u32) {
        let bytes = |pixels: u32| 3 * pixels as usize;
        let sources = other.pixels.chunks_exact(bytes(other.width));
        for (target, source) in self.pixels.chunks_exact_mut(bytes(self.width)).zip(sources) {
            target[bytes(left)..][..source.len()].copy_from_slice(source);
        }
    }

    /// Mixes a colour into a pixel, at 0 not at all, at 1 all of it.
    pub fn blend(&mut self, x: i32, y: i32, colour: Rgb888, opacity: f32) {
        let inside = x >= 0 && y >= 0 && x < self.width as i32 && y < self.height as i32;
        if !inside || opacity <= 0.0 {
            return;
        }
        let at = 3 * (y as usize * self.width as usize + x as usize);
        for (value, new) in self.pixels[at..at + 3].iter_mut().zip([colour.r(), colour.g(), colour.b()]) {
            let old = f32::from(*value);
            *value = (old + (f32::from(new) - old) * opacity.min(1.0)).round() as u8;
        }
    }

    /// A filled disc with smooth edges.
    pub fn disc(&mut self, centre: Point, radius: f32, colour: Rgb888) {
        let reach = radius.ceil() as i32 + 1;
        for (dx, dy) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))) {
            let distance = (dx as f32).hypot(dy as f32);
            self.blend(centre.x + dx, centre.y + dy, colour, radius + 0.5 - distance);
        }
    }

    /// One line of text, vertically centred on `at`, each of its pixels a square of `zoom`. Letters beyond
    /// Latin-1 become question marks.
    pub fn text(&mut self, text: &str, at: Point, alignment: Alignment, colour: Rgb888, zoom: u32) {
        let layout = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Middle).build();
        let letters = MonoTextStyle::new(&FONT_10X20, colour);
        let text = Text::with_text_style(text, Point::zero(), letters, layout);
        let Ok(_) = text.draw(&mut Zoomed { canvas: self, at, zoom });
    }

    /// A PNG file's bytes.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn to_png(&self) -> ImageResult<Vec<u8>> {
        let mut png = Vec::new();
        let encoder = PngEncoder::new(&mut png);
        encoder.write_image(&self.pixels, self.width, self.height, ExtendedColorType::Rgb8)?;
        Ok(png)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            self.blend(point.x, point.y, colour, 1.0);
        }
        Ok(())
    }
}

/// Draws around `at`, every pixel a square of `zoom`: the fonts have no larger letters.
struct Zoomed<'a> {
    canvas: &'a mut Canvas,
    at: Point,
    zoom: u32,
}

impl Dimensions for Zoomed<'_> {
    fn bounding_box(&self) -> Rectangle {
        self.canvas.bounding_box()
    }
}

impl DrawTarget for Zoomed<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            let corner = self.at + point * self.zoom as i32;
            self.canvas.fill_solid(&Rectangle::new(corner, Size::new_equal(self.zoom)), colour)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blending_mixes_in_proportion_and_stays_inside() {
        let mut canvas = Canvas::new(2, 1, Rgb888::new(100, 0, 255));
        canvas.blend(1, 0, Rgb888::new(200, 100, 255), 0.5);
        for (x, y) in [(-1, 0), (2, 0), (0, 1), (0, -1)] {
            canvas.blend(x, y, Rgb888::WHITE, 1.0);
        }
        assert_eq!(canvas.pixels, [100, 0, 255, 150, 50, 255]);
        canvas.blend(0, 0, Rgb888::WHITE, 7.0);
        assert_eq!(canvas.pixel(0, 0), [255; 3]);
    }

    #[test]
    fn a_disc_covers_its_radius() {
        let mut canvas = Canvas::new(21, 21, Rgb888::BLACK);
        canvas.disc(Point::new(10, 10), 6.0, Rgb888::WHITE);
        assert_eq!(canvas.pixel(10, 5), [255; 3]);
        assert_eq!(canvas.pixel(10, 4), [128; 3]);
        assert_eq!(canvas.pixel(10, 3), [0; 3]);
        assert_eq!(canvas.pixel(15, 15), [0; 3]);
    }

    #[test]
    fn zoomed_text_is_the_same_text_in_squares() {
        let lit = |zoom: u32| {
            let mut canvas = Canvas::new(60, 60, Rgb888::BLACK);
            canvas.text("1é", Point::new(2, 30), Alignment::Left, Rgb888::WHITE, zoom);
            canvas.pixels.chunks_exact(3).filter(|pixel| pixel[0] == 255).count()
        };
        assert!(lit(1) > 20);
        assert_eq!(lit(2), 4 * lit(1));
    }

    #[test]
    fn a_canvas_becomes_a_png_of_its_pixels() {
        let canvas = Canvas::new(3, 2, Rgb888::new(1, 2, 3));
        let picture = image::load_from_memory(&canvas.to_png().unwrap()).unwrap().into_rgb8();
        assert_eq!((picture.width(), picture.height()), (3, 2));
        assert_eq!(picture.into_raw(), canvas.pixels);
    }
}
