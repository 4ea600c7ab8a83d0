//! [`ModelState`]: what the model holds on a backend during a session. When the backend is lost, so is this;
//! the [`super::song::Song`] stays.

use sideman_kernels::{Backend, Sampling};

use super::song::Setup;
use super::window::Window;
use super::{SessionConfig, song::Listening};
use crate::codec::{CHUNK, Decoder, Encoder};
use crate::error::Result;
use crate::limits::MAX_HOP;
use crate::lm::RunSpec;
use crate::model::Model;
use crate::text::Hidden;

/// What the model holds on a backend during a session.
pub(super) struct ModelState<B: Backend> {
    /// Two windows, used in turn.
    pub windows: [Window<B>; 2],
    /// Index of the window that plays; `None`: the model does not run.
    pub current: Option<usize>,
    /// The window that is being primed.
    pub next: Option<NextWindow>,
    /// Frame of the input stem up to which the predictions of a model that anticipates have been corrected.
    pub corrected_to: i64,
    /// An encoder for each stem.
    pub encoders: Vec<Encoder<B>>,
    /// A decoder for each stem.
    pub decoders: Vec<Decoder<B>>,
    /// Codes that an encoder has just given.
    codes: Vec<u32>,
    /// The most columns that are fed in one pass.
    pub block: usize,
}

/// A window that is being primed.
pub(super) struct NextWindow {
    /// Index of the window.
    pub index: usize,
    /// Frame at which it replaces the current one.
    pub swap: i64,
    /// The first frame at which it can.
    pub ready: i64,
    /// It has no history: the band starts with it.
    pub start: bool,
}

impl<B: Backend> ModelState<B> {
    /// Allocates everything and warms it up. Nothing is playing.
    pub fn new(
        backend: &mut B,
        model: &Model<B>,
        setup: &Setup,
        delays: &[usize],
        settings: &SessionConfig,
        text: Option<&Hidden>,
    ) -> Result<Self> {
        let run = RunSpec {
            songs: 1,
            guided: settings.guided,
            delays,
            // Stopping at the end of a window leaves room for the delayed streams to end.
            frames: setup.shape.prefix + setup.shape.frames + setup.longest_delay() + 1,
            texts: &[text],
            text_room: settings.text_room.max(text.map_or(0, |text| text.len)),
            kv: model.lm.cache(),
            block: settings.block,
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 0.0, cfg: 1.0, seed: 0, frame_base: 0 },
        };
        let windows = [Window::new(backend, &model.lm, &run, setup.shape)?, Window::new(backend, &model.lm, &run, setup.shape)?];
        let (mut encoders, mut decoders) = (Vec::new(), Vec::new());
        for codec in &model.codecs {
            let mut encoder = codec.encoder(backend)?;
            encoder.warm_up(backend);
            encoders.push(encoder);
        }
        for codec in &model.codecs {
            let mut decoder = codec.decoder(backend)?;
            decoder.warm_up(backend);
            decoders.push(decoder);
        }
        Ok(ModelState {
            windows,
            current: None,
            next: None,
            corrected_to: 0,
            encoders,
            decoders,
            codes: Vec::with_capacity(16 * (MAX_HOP + CHUNK)),
            block: settings.block,
        })
    }

    /// Encodes samples with the encoder of a stem. The codes are frame-major.
    pub fn encode(&mut self, backend: &mut B, stem: usize, samples: &[f32]) -> &[u32] {
        self.codes.clear();
        self.encoders[stem].push(backend, samples, &mut self.codes);
        &self.codes
    }

    /// Starts a new signal in the encoder of a stem, at frame `next`.
    pub fn restart_encoder(&mut self, backend: &mut B, stem: usize, next: i64) -> Listening {
        self.codes.clear();
        self.encoders[stem].finish(backend, &mut self.codes);
        Listening { on: true, next }
    }

    /// Sets the sampling parameters of both windows, and their seed if one is given.
    pub fn set_sampling(&mut self, backend: &mut B, sampling: &Sampling, seed: Option<u64>) {
        self.windows.iter_mut().for_each(|window| window.set_sampling(backend, sampling, seed));
    }

    /// Sets the text of both windows.
    ///
    /// # Errors
    /// The text is longer than the room that was reserved, or it is another model's.
    pub fn set_text(&mut self, backend: &mut B, model: &Model<B>, text: Option<&Hidden>) -> Result<()> {
        self.windows.iter_mut().try_for_each(|window| window.run().set_text(backend, &model.lm, 0, text))
    }

    /// Switches the null lane of both windows off.
    pub fn stop_guidance(&mut self) {
        self.windows.iter_mut().for_each(|window| window.run().guide(false));
    }
}
