//! Shapes and brushes over tiny-skia.

use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, Mask, Paint, Path, PathBuilder, Pixmap, Point,
    RadialGradient, Shader, SpreadMode, Stroke, Transform,
};

use super::species::Rgb;

/// A transparent layer.
///
/// # Panics
/// Panics if `side` is 0 or not a picture's.
pub fn layer(side: u32) -> Pixmap {
    Pixmap::new(side, side).expect("the configuration's side was checked")
}

/// The colour, `alpha` 0..=1.
pub fn colour(rgb: Rgb, alpha: f32) -> Color {
    let [r, g, b] = rgb.map(|value| f32::from(value) / 255.0);
    Color::from_rgba(r, g, b, alpha.clamp(0.0, 1.0)).unwrap_or(Color::BLACK)
}

/// `a` moved towards `b`; `share` 0..=1.
pub fn mixed(a: Rgb, b: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|i| (f32::from(a[i]) * (1.0 - share) + f32::from(b[i]) * share) as u8)
}

/// `rgb` moved towards black.
pub fn darker(rgb: Rgb, share: f32) -> Rgb {
    mixed(rgb, [20, 16, 18], share)
}

/// A closed path of cubic curves: the start, then two control points and an end a curve.
pub fn curve(start: (f32, f32), cubics: &[[(f32, f32); 3]]) -> Path {
    let mut path = PathBuilder::new();
    path.move_to(start.0, start.1);
    for &[a, b, end] in cubics {
        path.cubic_to(a.0, a.1, b.0, b.1, end.0, end.1);
    }
    path.close();
    drawn(path)
}

/// A closed path of straight lines.
pub fn polygon(points: &[(f32, f32)]) -> Path {
    let mut path = PathBuilder::new();
    path.move_to(points[0].0, points[0].1);
    for point in &points[1..] {
        path.line_to(point.0, point.1);
    }
    path.close();
    drawn(path)
}

/// An open path from `a` to `c`, bent towards `b`.
pub fn arc(a: (f32, f32), b: (f32, f32), c: (f32, f32)) -> Path {
    let mut path = PathBuilder::new();
    path.move_to(a.0, a.1);
    path.quad_to(b.0, b.1, c.0, c.1);
    drawn(path)
}

/// A circle.
pub fn circle(x: f32, y: f32, radius: f32) -> Path {
    let mut path = PathBuilder::new();
    path.push_circle(x, y, radius);
    drawn(path)
}

fn drawn(path: PathBuilder) -> Path {
    path.finish().expect("every shape has finite points and an extent")
}

/// Where a layer may be painted: the inside of `path`.
pub fn inside(target: &Pixmap, path: &Path, map: Transform) -> Mask {
    let mut mask = Mask::new(target.width(), target.height()).expect("a pixmap's size is a mask's");
    mask.fill_path(path, FillRule::Winding, true, map);
    mask
}

/// Fills `path`.
pub fn fill(target: &mut Pixmap, path: &Path, colour: Color, map: Transform, clip: Option<&Mask>) {
    let paint = Paint { shader: Shader::SolidColor(colour), ..Paint::default() };
    target.fill_path(path, &paint, FillRule::Winding, map, clip);
}

/// Draws along `path`, `width` in the path's own measure.
pub fn stroke(
    target: &mut Pixmap,
    path: &Path,
    colour: Color,
    width: f32,
    map: Transform,
    clip: Option<&Mask>,
) {
    let paint = Paint { shader: Shader::SolidColor(colour), ..Paint::default() };
    let pen = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
    target.stroke_path(path, &paint, &pen, map, clip);
}

/// A spot that fades to nothing at its edge; `flatness` stretches it along x.
pub fn glow(target: &mut Pixmap, x: f32, y: f32, radius: f32, flatness: f32, rgb: Rgb, alpha: f32) {
    let stops = vec![
        GradientStop::new(0.0, colour(rgb, alpha)),
        GradientStop::new(0.55, colour(rgb, alpha * 0.8)),
        GradientStop::new(1.0, colour(rgb, 0.0)),
    ];
    let centre = Point::from_xy(0.0, 0.0);
    let map = Transform::from_translate(x, y).pre_scale(flatness, 1.0);
    let shader =
        RadialGradient::new(centre, 0.0, centre, radius, stops, SpreadMode::Pad, Transform::identity());
    let Some(shader) = shader else { return };
    let paint = Paint { shader, ..Paint::default() };
    target.fill_path(&circle(0.0, 0.0, radius), &paint, FillRule::Winding, map, None);
}
