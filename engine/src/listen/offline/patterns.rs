//! Rhythm patterns: how often events fall on each place of a bar, counted on labelled songs.

use serde::Deserialize;

use super::events::{KINDS, Voice};

/// Places of a beat that patterns tell apart.
pub(super) const LINES: usize = 12;

/// The patterns of one voice in bars of one feel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct VoicePatterns {
    /// Share of the bars that follow each pattern.
    pub weights: Vec<f64>,
    /// For each pattern, thousandths of an event of each kind on each line of the bar: lines × [`KINDS`].
    pub patterns: Vec<Vec<u16>>,
}

impl VoicePatterns {
    /// Events of a kind on a line in pattern `m`.
    pub fn rate(&self, m: usize, line: usize, kind: usize) -> f64 {
        f64::from(self.patterns[m][line * KINDS + kind]) / 1000.0
    }

    /// Mean of the patterns.
    pub fn mean(&self) -> VoicePatterns {
        let len = self.patterns.first().map_or(0, Vec::len);
        let total: f64 = self.weights.iter().sum();
        let at = |i: usize| {
            let sum: f64 = self.weights.iter().zip(&self.patterns).map(|(w, p)| w * f64::from(p[i])).sum();
            (sum / total).round() as u16
        };
        VoicePatterns { weights: vec![1.0], patterns: vec![(0..len).map(at).collect()] }
    }
}

/// Bars of one number of beats and one division of the beat.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Feel {
    /// Beats of a bar.
    pub beats: usize,
    bass: VoicePatterns,
    drums: VoicePatterns,
    other: VoicePatterns,
    /// Many more patterns of drums. They are too many for the search, but tell bar lines apart better.
    drums_fine: VoicePatterns,
}

impl Feel {
    pub fn of(&self, voice: Voice) -> &VoicePatterns {
        match voice {
            Voice::Single => &self.bass,
            Voice::Drums => &self.drums,
            Voice::Chords => &self.other,
        }
    }

    /// The patterns by which found beats and bars are compared.
    pub fn fine(&self, voice: Voice) -> &VoicePatterns {
        match voice {
            Voice::Drums => &self.drums_fine,
            Voice::Single | Voice::Chords => self.of(voice),
        }
    }
}

/// All patterns.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Patterns {
    /// 4/4 in even divisions; 4/4 in triplets, and 12/8; 3/4; 6/8.
    pub feels: Vec<Feel>,
}
