//! The largest of many values. Plain loops, which the compiler turns into vectors for each instruction set.

/// Values that are compared side by side.
const LANES: usize = 16;
/// Values that are searched at a time.
const BLOCK: usize = 64;

/// The largest value; a NaN never wins, and −∞ where there is no other.
#[inline(always)]
pub(super) fn maximum(x: &[f32]) -> f32 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for x in whole {
        for (largest, x) in largest.iter_mut().zip(x) {
            *largest = if *x > *largest { *x } else { *largest };
        }
    }
    let larger = |largest: f32, x: &f32| if *x > largest { *x } else { largest };
    rest.iter().fold(largest.iter().fold(f32::NEG_INFINITY, larger), larger)
}

/// Index of the first largest value; 0 where all are −∞ or NaN.
#[inline(always)]
pub(super) fn first_maximum(x: &[f32]) -> usize {
    let largest = maximum(x);
    if largest == f32::NEG_INFINITY {
        return 0;
    }
    let mut at = 0;
    for block in x.as_chunks::<BLOCK>().0 {
        if count(block, |x| x == largest) > 0 {
            break;
        }
        at += BLOCK;
    }
    at + x[at..].iter().position(|x| *x == largest).unwrap_or(0)
}

/// A limit that the `k` largest values reach, with all that equal the last of them, and no others. Looks for it by bisection.
#[inline(always)]
pub(super) fn limit_of_largest(x: &[f32], k: usize) -> f32 {
    if count(x, |x| x >= f32::MIN) < k {
        return f32::NEG_INFINITY;
    }
    // Integers in the order of the values. There are k finite values, so no candidate is a NaN below −∞.
    let value = |key: u32| f32::from_bits(if key >> 31 == 1 { key ^ 1 << 31 } else { !key });
    let mut key = 0;
    for bit in (0..32).rev() {
        let candidate = key | 1 << bit;
        let limit = value(candidate);
        let reach = count(x, |x| x >= limit);
        if reach >= k {
            key = candidate;
        }
        if reach == k {
            break;
        }
    }
    value(key)
}

/// Number of values for which `which` holds.
#[inline(always)]
fn count(x: &[f32], which: impl Fn(f32) -> bool) -> usize {
    x.iter().fold(0u32, |count, x| count + u32::from(which(*x))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![
            8 => -20.0f32..20.0,
            2 => (-3i8..3).prop_map(f32::from),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(-0.0f32),
            1 => prop_oneof![Just(f32::MAX), Just(f32::MIN), Just(1e-40), Just(-1e-40)],
        ];
        proptest::collection::vec(value, 1..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_first_maximum_is_that_of_a_search_from_the_start(mut x in values(), nan in 0usize..400) {
            if let Some(x) = x.get_mut(nan) {
                *x = f32::NAN;
            }
            let (mut largest, mut at) = (f32::NEG_INFINITY, 0);
            for (i, x) in x.iter().enumerate() {
                if *x > largest {
                    (largest, at) = (*x, i);
                }
            }
            prop_assert_eq!((first_maximum(&x), maximum(&x)), (at, largest));
        }

        #[test]
        fn the_limit_keeps_the_k_largest_and_those_that_equal_the_last(x in values(), k in 1usize..300) {
            let k = k.min(x.len());
            let mut sorted = x.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let limit = limit_of_largest(&x, k);
            for x in x {
                prop_assert_eq!(x < limit, x < sorted[k - 1], "{} with limit {}", x, limit);
            }
        }
    }
}
