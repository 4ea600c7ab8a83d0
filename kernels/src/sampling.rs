//! The token grid of a run, and the parameters by which its tokens are sampled.

/// Sampling parameters of one run. [`crate::Backend::set_sampling`] writes them to the backend's memory between steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits. 0 or less is greedy: the largest logit, and of equal ones the first.
    pub temperature: f32,
    /// Keeps the k largest probabilities, ties with the k-th included; 0 keeps all. Used only where `top_p` is 0.
    pub top_k: u32,
    /// Nucleus sampling: drops codes whose cumulative probability *without their own* exceeds this; 0 is off.
    pub top_p: f32,
    /// Classifier-free guidance: logits = null + (cond − null) · (1 + (cfg − 1) · the stream's [`Grid::cfg_scale`]). Used
    /// only where a song has two lanes.
    pub cfg: f32,
    /// Key of the random numbers.
    pub seed: u64,
    /// Absolute frame of frame 0 of the run's grid. Random numbers are keyed by absolute frame, so that two windows of one
    /// song use different ones.
    pub frame_base: i64,
}

/// Shape of the token grid of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Songs generated side by side (variations).
    pub songs: usize,
    /// Lanes of one song: 2 with guidance (0 = conditioned, 1 = null), else 1. Lane = song · branches + branch.
    pub branches: usize,
    /// Number of codes of each stream; `cards[k]` is also stream k's special id.
    pub cards: Vec<usize>,
    /// Delay of each stream in this run, in frames, lag included.
    pub delays: Vec<usize>,
    /// Factor of the guidance on each stream: 1 applies all of it, 0 none.
    pub cfg_scale: Vec<f32>,
    /// Steps that the sequence has room for.
    pub steps: usize,
}

/// A token that is to be sampled.
pub const UNKNOWN: i32 = -1;
