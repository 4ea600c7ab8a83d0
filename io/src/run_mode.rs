//! What a session runs against: devices in real time, files, or a take that is replayed.

/// What a [`crate::runner::Runner`] runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Audio devices, in real time: the runner never waits for the text encoder or the disk.
    Devices,
    /// An input file and a take: nothing is late, so the runner waits for the text encoder and the disk.
    Files,
    /// A replay of a take's input and requests. The take has every request at the time at which it was applied,
    /// also those that the program itself sent, so the runner sends none of its own and delays none.
    Replay,
}

impl RunMode {
    /// Whether the runner waits for the text encoder and the disk.
    pub fn is_offline(self) -> bool {
        self != RunMode::Devices
    }
}
