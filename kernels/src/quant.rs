//! Block formats of weights: bf16 and q8, one row at a time. Players pack the result in their own order.

use half::bf16;

/// Weights of one q8 block.
pub const BLOCK: usize = 32;

/// f32 to bf16 bits, nearest even.
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
/// from zero). A weight that is not finite counts as 0. `ints` [len], `scales` [len/32]; `row.len()` must be a multiple of 32.
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

/// The weights that a q8 row stands for.
pub fn from_q8(ints: &[i8], scales: &[f32], row: &mut [f32]) {
    for ((ints, scale), row) in ints.chunks_exact(BLOCK).zip(scales).zip(row.chunks_exact_mut(BLOCK)) {
        for (int, w) in ints.iter().zip(row) {
            *w = scale * f32::from(*int);
        }
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
    fn q8_of_zeros_and_of_nonsense_is_finite() {
        let mut row = vec![0f32; 64];
        row[40] = f32::NAN;
        row[41] = f32::INFINITY;
        row[42] = 3.0;
        let (mut ints, mut scales, mut back) = (vec![0i8; 64], vec![0f32; 2], vec![9f32; 64]);
        to_q8(&row, &mut ints, &mut scales);
        from_q8(&ints, &scales, &mut back);
        assert_eq!((back[0], back[40], back[41], back[42]), (0.0, 0.0, 0.0, 3.0));
    }
}
