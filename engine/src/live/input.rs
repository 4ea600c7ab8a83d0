//! Encodes the musician's samples to tokens of the input stem.

use sideman_kernels::Backend;

use super::{Command, Session};

impl<B: Backend> Session<B> {
    /// Encodes the samples of a hop with the codec of the input stem, and of each stem that is about to become the
    /// input stem ([`Session::listen`]).
    pub(super) fn hear(&mut self, backend: &mut B, heard: &[f32]) {
        let Session { song, model_state } = self;
        let peak = |peak: f32, x: &f32| if x.is_finite() { peak.max(x.abs()) } else { peak };
        song.input.peak = heard.iter().fold(0.0, peak);
        for (stem, listening) in song.input.listening.iter_mut().enumerate().filter(|(_, l)| l.on) {
            let codes = model_state.encode(backend, stem, heard);
            let streams = song.history.streams[stem].len();
            for frame in codes.chunks_exact(streams) {
                for (level, &code) in frame.iter().enumerate() {
                    let k = song.history.streams[stem][level];
                    song.history.set_heard(k, listening.next, code as i32);
                }
                listening.next += 1;
            }
        }
    }

    /// Selects the stems as which the musician's samples are encoded: the input stem, and those that a pending
    /// request makes the input stem. The past of a newly selected stem is silence.
    pub(super) fn listen(&mut self, backend: &mut B) {
        let Session { song, model_state } = self;
        for stem in 0..song.input.listening.len() {
            let requested = song
                .schedule
                .pending()
                .iter()
                .any(|e| matches!(e.request.command, Command::InputStem(Some(s)) if usize::from(s) == stem));
            let on = song.input.stem == Some(stem) || requested;
            if on && !song.input.listening[stem].on {
                song.input.listening[stem] = model_state.restart_encoder(backend, stem, song.heard);
                song.history.clear_heard(stem);
            }
            song.input.listening[stem].on = on;
        }
    }
}
