//! Buffers whose memory is there before they are used. The first write to a page of a new buffer is a page fault:
//! the system then clears memory, which takes long and may wait. A hop and a callback of a device must have none.

use std::hint::black_box;

/// `len` times `value`.
pub fn filled<T: Copy>(len: usize, value: T) -> Vec<T> {
    let mut buffer = Vec::with_capacity(len);
    // The compiler must not see that a value is zero: it would request memory that the system clears later.
    buffer.resize(len, black_box(value));
    buffer
}

/// Nothing, with room for `capacity` values.
pub fn empty<T: Copy + Default>(capacity: usize) -> Vec<T> {
    let mut buffer = filled(capacity, T::default());
    buffer.clear();
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_buffer_is_as_a_new_one() {
        assert_eq!(filled(3, 0.0), [0.0; 3]);
        let buffer = empty::<u32>(3);
        assert_eq!((buffer.len(), buffer.capacity()), (0, 3));
    }
}
