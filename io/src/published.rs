//! Copies a snapshot into an older one. Strings and lists keep their memory: the engine's thread publishes a snapshot
//! after each hop, and requests none for it.

use sideman_engine::live::Snapshot;

/// Makes `to` equal to `from`. Requests memory only where a text or a list is longer than any before, and for a new
/// notice.
pub fn copy(from: &Snapshot, to: &mut Snapshot) {
    // Every field is named: one that is added and not copied here does not compile.
    let Snapshot {
        time,
        bar,
        beat,
        phase,
        tempo,
        meter,
        clock,
        lock,
        ear,
        offer,
        playing,
        mode,
        input_stem,
        stems,
        heard,
        pending,
        chord,
        next_chord,
        chord_loop,
        chords,
        section,
        section_bars,
        key,
        text,
        lag,
        hop,
        lead,
        committed,
        planned,
        dim,
        room,
        click,
        recording,
        recorded,
        health,
        notice,
    } = from;
    (to.time, to.bar, to.beat, to.phase) = (*time, *bar, *beat, *phase);
    (to.tempo, to.meter, to.clock, to.lock, to.ear) = (*tempo, *meter, *clock, *lock, *ear);
    (to.offer, to.playing, to.mode, to.input_stem) = (*offer, *playing, *mode, *input_stem);
    to.stems.clone_from(stems);
    to.heard = *heard;
    to.pending.clone_from(pending);
    to.chord.clone_from(chord);
    to.next_chord.clone_from(next_chord);
    to.chord_loop = *chord_loop;
    to.chords.clone_from(chords);
    to.section.clone_from(section);
    to.section_bars = *section_bars;
    to.key.clone_from(key);
    to.text.clone_from(text);
    (to.lag, to.hop, to.lead) = (*lag, *hop, *lead);
    (to.committed, to.planned) = (*committed, *planned);
    (to.dim, to.room, to.click) = (*dim, *room, *click);
    (to.recording, to.recorded) = (*recording, *recorded);
    to.health = health.clone();
    if to.notice != *notice {
        to.notice.clone_from(notice);
    }
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::{Command, Notice, Pending, StemState};

    use super::*;

    #[test]
    fn a_copy_is_equal_and_keeps_its_memory() {
        let text = |text: &str| text.to_owned();
        let full = Snapshot {
            time: 7,
            bar: 3,
            tempo: 99.0,
            stems: vec![StemState { peak: 0.5, ..StemState::default() }; 3],
            pending: vec![Pending { command: Command::Fill, at: 9 }],
            chord: text("Em"),
            chords: text("Em C"),
            section: text("A"),
            key: text("G"),
            text: text("funk"),
            notice: Some(Notice::TempoLimit),
            ..Snapshot::default()
        };
        let mut to = full.clone();
        let memory = to.chords.as_ptr();
        copy(&Snapshot { chords: text("F"), ..Snapshot::default() }, &mut to);
        assert_eq!((to.chords.as_ptr(), to.notice.is_none()), (memory, true));
        copy(&full, &mut to);
        assert_eq!(to, full);
    }
}
