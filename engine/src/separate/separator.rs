//! A separator on a backend: one network, or a bag of them whose estimates are averaged.

use sideman_kernels::SeparatorBackend;

use super::config::{NetworkSizes, SeparatorConfig, SeparatorDir};
use super::htdemucs::{CHANNELS, Htdemucs, HtdemucsState};
use super::mask::{Mask, MaskState};
use crate::error::Result;

/// A network of any kind.
enum Network<B: SeparatorBackend> {
    Htdemucs(Box<Htdemucs<B>>),
    Mask(Mask<B>),
}

/// Buffers of a network.
enum NetworkState<B: SeparatorBackend> {
    Htdemucs(HtdemucsState<B>),
    Mask(MaskState<B>),
}

/// A loaded separator.
pub struct Separator<B: SeparatorBackend> {
    config: SeparatorConfig,
    /// None where no wanted source has a share of the network.
    networks: Vec<Option<Network<B>>>,
}

/// Buffers of a separator.
pub struct SeparatorState<B: SeparatorBackend> {
    network: NetworkState<B>,
    /// The estimates of one network [sources, 2, segment].
    estimates: Vec<f32>,
}

impl<B: SeparatorBackend> Separator<B> {
    /// Loads the networks that have a share in the sources `wanted`.
    ///
    /// # Errors
    /// A tensor is missing, unknown or damaged, or the backend's memory is full.
    pub fn load(backend: &mut B, dir: &SeparatorDir, wanted: &[usize]) -> Result<Self> {
        let SeparatorConfig { sources, network, bag, .. } = &dir.config;
        let mut tensors = dir.tensors()?;
        let mut networks = Vec::new();
        for (k, shares) in bag.iter().enumerate() {
            let prefix = format!("{k}.");
            networks.push(if wanted.iter().any(|s| shares[*s] > 0.0) {
                Some(match network {
                    NetworkSizes::Htdemucs(sizes) => {
                        Network::Htdemucs(Box::new(Htdemucs::load(backend, &mut tensors, &prefix, sizes, sources.len())?))
                    }
                    NetworkSizes::Mask(sizes) => Network::Mask(Mask::load(backend, &mut tensors, &prefix, sizes, sources.len())?),
                })
            } else {
                tensors.skip(&prefix);
                None
            });
        }
        tensors.finish()?;
        Ok(Separator { config: dir.config.clone(), networks })
    }

    /// The configuration.
    pub fn config(&self) -> &SeparatorConfig {
        &self.config
    }

    /// Networks that are loaded.
    pub fn networks(&self) -> usize {
        self.networks.iter().flatten().count()
    }

    /// Samples of a segment.
    pub fn segment(&self) -> usize {
        self.config.network.segment()
    }

    /// Buffers for [`Running`].
    ///
    /// # Errors
    /// The backend's memory is full.
    pub(super) fn state(&self, backend: &mut B) -> Result<SeparatorState<B>> {
        let any = self.networks.iter().flatten().next().expect("every source has a network");
        let network = match any {
            Network::Htdemucs(network) => NetworkState::Htdemucs(network.state(backend)?),
            Network::Mask(network) => NetworkState::Mask(network.state(backend)?),
        };
        Ok(SeparatorState { network, estimates: vec![0.0; self.config.sources.len() * CHANNELS * self.segment()] })
    }
}

/// A separator with what it needs to run.
pub(super) struct Running<'a, B: SeparatorBackend> {
    pub backend: &'a mut B,
    pub separator: &'a Separator<B>,
    pub state: &'a mut SeparatorState<B>,
}

impl<B: SeparatorBackend> Running<'_, B> {
    /// Estimates of the sources `wanted` of one segment, `out` [wanted, 2, segment].
    pub fn estimate(&mut self, mix: [&[f32]; CHANNELS], wanted: &[usize], out: &mut [f32]) {
        let Separator { config, networks } = self.separator;
        let SeparatorState { network: state, estimates } = &mut *self.state;
        let len = CHANNELS * self.separator.segment();
        out.fill(0.0);
        let total = |s: usize| config.bag.iter().map(|w| w[s]).sum::<f32>();
        for (shares, network) in config.bag.iter().zip(networks) {
            let Some(network) = network else { continue };
            match (network, &mut *state) {
                (Network::Htdemucs(network), NetworkState::Htdemucs(state)) => network.run(self.backend, state, mix, estimates),
                (Network::Mask(network), NetworkState::Mask(state)) => network.run(self.backend, state, mix, estimates),
                _ => unreachable!("all networks of a separator are of one kind"),
            }
            for (&s, out) in wanted.iter().zip(out.chunks_exact_mut(len)) {
                let share = shares[s] / total(s);
                out.iter_mut().zip(&estimates[s * len..]).for_each(|(out, x)| *out += share * x);
            }
        }
    }
}
