//! The channels of a slot. A slot is one frame of all that the band plays: stem 1 … stem n, click, left,
//! right.

/// The channels of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLayout {
    stems: usize,
}

impl SlotLayout {
    /// The layout for a model with that many stems.
    pub const fn new(stems: usize) -> SlotLayout {
        SlotLayout { stems }
    }

    /// Number of stems. They are channels 0 to `stems() - 1`, in the model's order.
    pub const fn stems(self) -> usize {
        self.stems
    }

    /// Channel of the click.
    pub const fn click(self) -> usize {
        self.stems
    }

    /// Left channel of the mix.
    pub const fn left(self) -> usize {
        self.stems + 1
    }

    /// Right channel of the mix.
    pub const fn right(self) -> usize {
        self.stems + 2
    }

    /// Number of channels.
    pub const fn channels(self) -> usize {
        self.stems + 3
    }
}
