//! Conversion of weights to bf16, q8 and q4 and back, one row at a time, and of activations to 8-bit integers. Each backend
//! packs the result in its own order.

use half::bf16;

/// Weights of one block of q8 or q4.
pub const BLOCK: usize = 32;

/// f32 to bf16 bits, rounded to nearest even.
#[inline]
pub fn to_bf16(x: f32) -> u16 {
    bf16::from_f32(x).to_bits()
}

/// bf16 bits to f32, exact.
#[inline]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Quantizes a row to q8: `w ≈ scale · int`, one scale for each [`BLOCK`] weights, scale = max|w|/127, nearest int (half away
/// from zero). A weight that is not finite counts as 0. `ints` \[len\], `scales` [len/32]; `row.len()` must be a multiple of 32.
pub fn to_q8(row: &[f32], ints: &mut [i8], scales: &mut [f32]) {
    assert!(
        row.len().is_multiple_of(BLOCK) && ints.len() == row.len() && scales.len() * BLOCK == row.len(),
        "q8 row of {}",
        row.len()
    );
    for ((block, ints), scale) in row.chunks_exact(BLOCK).zip(ints.chunks_exact_mut(BLOCK)).zip(scales) {
        let finite = |w: &f32| if w.is_finite() { *w } else { 0.0 };
        let largest = block.iter().map(|w| finite(w).abs()).fold(0.0, f32::max);
        *scale = largest / 127.0;
        let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
        for (w, int) in block.iter().zip(ints) {
            *int = (finite(w) * inverse).round().clamp(-127.0, 127.0) as i8;
        }
    }
}

/// The weights of a q8 row.
pub fn from_q8(ints: &[i8], scales: &[f32], row: &mut [f32]) {
    for ((ints, scale), row) in ints.chunks_exact(BLOCK).zip(scales).zip(row.chunks_exact_mut(BLOCK)) {
        for (int, w) in ints.iter().zip(row) {
            *w = scale * f32::from(*int);
        }
    }
}

/// Quantizes a row to q4 as model files store it: `w ≈ scale · (nibble − 8)`, two weights a byte, the first in the low half,
/// scale = max|w|/7, nibbles from 1 to 15. Otherwise as [`to_q8`]. `nibbles` [len/2], `scales` [len/32].
pub fn to_q4(row: &[f32], nibbles: &mut [u8], scales: &mut [f32]) {
    assert!(
        row.len().is_multiple_of(BLOCK) && nibbles.len() * 2 == row.len() && scales.len() * BLOCK == row.len(),
        "q4 row of {}",
        row.len()
    );
    for ((block, nibbles), scale) in row.chunks_exact(BLOCK).zip(nibbles.chunks_exact_mut(BLOCK / 2)).zip(scales) {
        let finite = |w: f32| if w.is_finite() { w } else { 0.0 };
        *scale = block.iter().map(|w| finite(*w).abs()).fold(0.0, f32::max) / 7.0;
        let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
        let nibble = |w: f32| ((finite(w) * inverse).round().clamp(-7.0, 7.0) + 8.0) as u8;
        for (pair, byte) in block.chunks_exact(2).zip(nibbles) {
            *byte = nibble(pair[0]) | nibble(pair[1]) << 4;
        }
    }
}

/// The integers of nibbles, −8 to 7, in order.
pub fn ints_of(nibbles: &[u8]) -> impl Iterator<Item = i8> {
    nibbles.iter().flat_map(|byte| [(byte & 15) as i8 - 8, (byte >> 4) as i8 - 8])
}

/// Bits of the least max|x| that a block of activations is not counted as zeros for: 2^-119. Below it, max|x|/127 would be a
/// denormal number, which a processor may be set to flush to zero.
pub const LEAST_ACTIVATION: u32 = 8 << 23;
/// Bits of infinity. Without its sign bit, a number with these bits or more is not finite.
pub const INFINITE: u32 = 0x7f80_0000;

/// Quantizes one block of activations: `x ≈ scale · int`, scale = max|x|/127, int = x/scale rounded to nearest, half to even.
///
/// A block whose max|x| is below 2^-119 becomes zeros with scale 0. A block with a NaN or an infinity becomes zeros with scale
/// NaN, so that every product with it is NaN.
pub fn to_int8(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    // As integers, numbers without sign are in the order of their values, and those that are not finite are the largest.
    let largest = x.iter().map(|x| x.abs().to_bits()).fold(0, u32::max);
    match largest {
        INFINITE.. => ([0; BLOCK], f32::NAN),
        LEAST_ACTIVATION.. => {
            let scale = f32::from_bits(largest) / 127.0;
            (x.map(|x| (x / scale).round_ties_even() as i8), scale)
        }
        _ => ([0; BLOCK], 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even_and_expands_exactly() {
        for (x, bits) in [(1.0f32, 0x3f80), (-2.0, 0xc000), (1.003_906_3, 0x3f80), (1.011_718_8, 0x3f82), (f32::INFINITY, 0x7f80)]
        {
            assert_eq!(to_bf16(x), bits, "{x}");
        }
        for bits in (0..=u16::MAX).filter(|b| !from_bf16(*b).is_nan()) {
            assert_eq!(to_bf16(from_bf16(bits)), bits);
        }
    }

    #[test]
    fn q8_is_within_half_a_step_and_keeps_the_largest() {
        let row: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * 10f32.powi(i / 32 - 1)).collect();
        let (mut ints, mut scales, mut back) = (vec![0i8; 96], vec![0f32; 3], vec![0f32; 96]);
        to_q8(&row, &mut ints, &mut scales);
        from_q8(&ints, &scales, &mut back);
        for (i, (a, b)) in row.iter().zip(&back).enumerate() {
            assert!((a - b).abs() <= scales[i / 32] * 0.5001, "{a} became {b}");
        }
        assert!(ints.chunks(32).all(|b| b.iter().any(|i| i.abs() == 127)));
    }

    #[test]
    fn q4_is_within_half_a_step_keeps_the_largest_and_is_stable() {
        let row: Vec<f32> = (0..96).map(|i| ((i * 37 % 101) as f32 - 50.0) * 10f32.powi(i / 32 - 1)).collect();
        let (mut nibbles, mut scales) = (vec![0u8; 48], vec![0f32; 3]);
        let back = |nibbles: &[u8], scales: &[f32]| -> Vec<f32> {
            ints_of(nibbles).enumerate().map(|(i, int)| scales[i / BLOCK] * f32::from(int)).collect()
        };
        to_q4(&row, &mut nibbles, &mut scales);
        let once = back(&nibbles, &scales);
        for (i, (a, b)) in row.iter().zip(&once).enumerate() {
            assert!((a - b).abs() <= scales[i / BLOCK] * 0.5001, "{a} became {b}");
        }
        let ints: Vec<i8> = ints_of(&nibbles).collect();
        assert!(ints.chunks(BLOCK).all(|b| b.iter().any(|i| i.abs() == 7) && b.iter().all(|i| i.abs() <= 7)));
        let (mut again, mut same) = (vec![0u8; 48], vec![0f32; 3]);
        to_q4(&once, &mut again, &mut same);
        assert_eq!(again, nibbles);
        // The first of two weights is in the low half: 1·scale is 9.
        let mut two = vec![0.0; 32];
        (two[0], two[1]) = (7.0, 1.0);
        let (mut nibbles, mut scale) = (vec![0u8; 16], [0.0]);
        to_q4(&two, &mut nibbles, &mut scale);
        assert_eq!((nibbles[0], nibbles[1], scale), (15 | 9 << 4, 0x88, [1.0]));
    }

    #[test]
    fn zeros_nan_and_infinity_quantize_to_finite_weights() {
        let mut row = vec![0f32; 64];
        row[40] = f32::NAN;
        row[41] = f32::INFINITY;
        row[42] = 3.0;
        let (mut ints, mut scales, mut back) = (vec![0i8; 64], vec![0f32; 2], vec![9f32; 64]);
        to_q8(&row, &mut ints, &mut scales);
        from_q8(&ints, &scales, &mut back);
        assert_eq!((back[0], back[40], back[41], back[42]), (0.0, 0.0, 0.0, 3.0));
        let mut nibbles = vec![0u8; 32];
        to_q4(&row, &mut nibbles, &mut scales);
        let ints: Vec<i8> = ints_of(&nibbles).collect();
        assert_eq!((ints[0], ints[40], ints[41], ints[42]), (0, 0, 0, 7));
        assert!(scales.iter().all(|s| s.is_finite()));
    }

    #[test]
    fn activations_are_within_half_a_step_and_halves_go_to_even() {
        let mut x = [0.0; BLOCK];
        for (i, x) in x.iter_mut().enumerate() {
            *x = (i as f32 * 0.7).sin() * 3.0;
        }
        let (ints, scale) = to_int8(&x);
        assert!(ints.iter().any(|i| i.abs() == 127));
        for (x, int) in x.iter().zip(ints) {
            assert!((x - scale * f32::from(int)).abs() <= scale * 0.5001, "{x} became {int}");
        }
        // With 127 as the largest, the scale is 1.
        x = [0.0; BLOCK];
        x[..7].copy_from_slice(&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -126.5]);
        let (ints, scale) = to_int8(&x);
        assert_eq!((scale, &ints[..7]), (1.0, &[127i8, 0, 2, 2, 0, -2, -126][..]));
    }

    #[test]
    fn blocks_of_activations_with_extreme_values_have_the_scales_that_are_documented() {
        let with = |first: f32| {
            let mut x = [0.25; BLOCK];
            x[0] = first;
            to_int8(&x)
        };
        assert_eq!(to_int8(&[0.0; BLOCK]), ([0; BLOCK], 0.0));
        assert_eq!(to_int8(&[-f32::MIN_POSITIVE; BLOCK]), ([0; BLOCK], 0.0));
        assert_eq!(to_int8(&[f32::from_bits(LEAST_ACTIVATION - 1); BLOCK]).1, 0.0);
        let (ints, scale) = to_int8(&[f32::from_bits(LEAST_ACTIVATION); BLOCK]);
        assert!(ints == [127; BLOCK] && scale.is_normal());
        for x in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (ints, scale) = with(x);
            assert!(ints == [0; BLOCK] && scale.is_nan(), "{x}");
        }
        let (ints, scale) = with(f32::MIN);
        assert!(ints[0] == -127 && ints[1..] == [0; BLOCK - 1] && scale.is_finite());
    }
}
