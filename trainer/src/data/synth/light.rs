//! What happens to painted layers: they cover each other, are lit, blurred, and photographed.

use rand::{Rng, RngExt};
use tiny_skia::{BlendMode, FilterQuality, Pixmap, PixmapPaint, PremultipliedColorU8, Transform};

use super::pose::Pose;

/// The share of a circle's pixels that `cover` hides, 0..=1; what lies outside the picture is hidden.
pub fn hidden(cover: &Pixmap, x: f32, y: f32, radius: f32) -> f32 {
    let side = cover.width() as i32;
    let (mut all, mut seen) = (0.0, 0.0);
    for py in (y - radius) as i32..=(y + radius) as i32 {
        for px in (x - radius) as i32..=(x + radius) as i32 {
            let (dx, dy) = (px as f32 + 0.5 - x, py as f32 + 0.5 - y);
            if dx * dx + dy * dy > radius * radius {
                continue;
            }
            all += 1.0;
            if (0..side).contains(&px) && (0..side).contains(&py) {
                let alpha = cover.pixel(px as u32, py as u32).map_or(0, PremultipliedColorU8::alpha);
                seen += 1.0 - f32::from(alpha) / 255.0;
            }
        }
    }
    if all > 0.0 { 1.0 - seen / all } else { 1.0 }
}

/// Draws `layer` over `target`.
pub fn put(target: &mut Pixmap, layer: &Pixmap) {
    let paint =
        PixmapPaint { opacity: 1.0, blend_mode: BlendMode::SourceOver, quality: FilterQuality::Nearest };
    target.draw_pixmap(0, 0, layer.as_ref(), &paint, Transform::identity(), None);
}

/// Light from one side and feather texture on the bird's layer: each pixel scaled, alpha kept.
pub fn shade(bird: &mut Pixmap, pose: &Pose, rng: &mut impl Rng) {
    let angle: f32 = rng.random_range(-2.6..-0.5);
    let strength = rng.random_range(0.05..0.2) / pose.unit;
    let (dx, dy) = (angle.cos() * strength, angle.sin() * strength);
    let width = bird.width() as usize;
    for (index, pixel) in bird.pixels_mut().iter_mut().enumerate() {
        let grain = rng.random_range(-0.05..0.05);
        if pixel.alpha() == 0 {
            continue;
        }
        let (x, y) = ((index % width) as f32 - pose.body.tx, (index / width) as f32 - pose.body.ty);
        let gain = 1.0 + (x * dx + y * dy).clamp(-0.3, 0.22) + grain;
        let lit = |value: u8| (f32::from(value) * gain).min(f32::from(pixel.alpha())) as u8;
        let (r, g, b) = (lit(pixel.red()), lit(pixel.green()), lit(pixel.blue()));
        *pixel = PremultipliedColorU8::from_rgba(r, g, b, pixel.alpha()).unwrap_or(*pixel);
    }
}

/// The finished picture's RGB bytes: the day's light and the camera's noise on an opaque `scene`.
pub fn exposed(scene: &Pixmap, rng: &mut impl Rng) -> Vec<u8> {
    let gain = rng.random_range(0.78..1.16);
    let warmth = rng.random_range(-0.07..0.07_f32);
    let tint = [gain * (1.0 + warmth), gain, gain * (1.0 - warmth)];
    let contrast = rng.random_range(0.85..1.08);
    let haze = rng.random_range(0.0..14.0);
    let noise = rng.random_range(1.0..7.0_f32);
    let mut bytes = Vec::with_capacity(3 * scene.pixels().len());
    for pixel in scene.pixels() {
        for (value, tint) in [pixel.red(), pixel.green(), pixel.blue()].into_iter().zip(tint) {
            // The sum of two uniform numbers is close enough to a sensor's bell curve.
            let grain = noise * (rng.random_range(-1.0..1.0_f32) + rng.random_range(-1.0..1.0));
            let value = (f32::from(value) * tint - 110.0) * contrast + 110.0 + haze + grain;
            bytes.push(value.round().clamp(0.0, 255.0) as u8);
        }
    }
    bytes
}

/// Blurs an opaque layer: two passes of a box of `2 * radius + 1` pixels, edges repeated.
pub fn blur(target: &mut Pixmap, radius: usize) {
    let side = target.width() as usize;
    for _ in 0..2 {
        box_blur(target.data_mut(), side, radius, 4, 4 * side);
        box_blur(target.data_mut(), side, radius, 4 * side, 4);
    }
}

/// One pass along lines of `side` pixels, `step` bytes apart, lines `line` bytes apart.
fn box_blur(bytes: &mut [u8], side: usize, radius: usize, step: usize, line: usize) {
    let span = 2 * radius + 1;
    for start in (0..side).map(|row| row * line) {
        for channel in 0..3 {
            let value = |x: usize| usize::from(bytes[start + x.min(side - 1) * step + channel]);
            let blurred: Vec<u8> = (0..side)
                .map(|x| {
                    ((0..span).map(|k| value((x + k).saturating_sub(radius))).sum::<usize>() / span) as u8
                })
                .collect();
            for (x, value) in blurred.into_iter().enumerate() {
                bytes[start + x * step + channel] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::paint::{colour, fill, layer, polygon};
    use super::*;

    #[test]
    fn hidden_is_the_covered_share_of_a_circle() {
        let mut cover = layer(64);
        assert!(hidden(&cover, 32.0, 32.0, 10.0) < 1e-6);
        let half = polygon(&[(0.0, 0.0), (32.0, 0.0), (32.0, 64.0), (0.0, 64.0)]);
        fill(&mut cover, &half, colour([0; 3], 1.0), Transform::identity(), None);
        assert!((hidden(&cover, 32.0, 32.0, 10.0) - 0.5).abs() < 0.05);
        assert!(hidden(&cover, 10.0, 32.0, 5.0) > 0.999);
        assert!(hidden(&cover, 200.0, 32.0, 5.0) > 0.999, "outside the picture");
    }

    #[test]
    fn blur_keeps_a_flat_picture_flat() {
        let mut flat = layer(16);
        flat.fill(colour([90, 120, 30], 1.0));
        let before = flat.data().to_vec();
        blur(&mut flat, 3);
        assert_eq!(flat.data(), before);
    }
}
