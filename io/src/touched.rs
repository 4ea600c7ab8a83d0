//! Rings whose memory is there before they are used ([`sideman_engine::touched`]).

use std::hint::black_box;

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// A ring for `capacity` values. `any` is a value of their type.
pub fn ring<T: Copy>(capacity: usize, any: T) -> (HeapProd<T>, HeapCons<T>) {
    let (mut producer, mut consumer) = HeapRb::new(capacity).split();
    producer.push_iter(std::iter::repeat_n(black_box(any), capacity));
    consumer.clear();
    (producer, consumer)
}

#[cfg(test)]
mod tests {
    use ringbuf::traits::Observer;

    use super::*;

    #[test]
    fn a_touched_ring_is_as_a_new_one() {
        let (mut producer, mut consumer) = ring(3, 7);
        assert_eq!((producer.vacant_len(), consumer.try_pop()), (3, None));
        assert_eq!(producer.push_slice(&[1, 2, 3, 4]), 3);
        assert_eq!(consumer.pop_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
