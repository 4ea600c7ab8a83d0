//! An observer of the CPU backend: a function that is called where an operation starts and ends. `sideman-bench live` reads its
//! clock there, to find where the time of a hop goes. Without an observer nothing is called, and no clock is read.

/// The operations of [`crate::Backend`] that compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`crate::Backend::embed`]: the start of a pass of the language model.
    Embed,
    /// [`crate::Backend::linear`], and the products of [`crate::Backend::qkv`].
    Product,
    /// [`crate::Backend::attend`] and [`crate::Backend::attend_text`].
    Attend,
    /// [`crate::Backend::sample`]: the end of a pass that samples.
    Sample,
    /// [`crate::Backend::advance`]: the end of a pass that does not.
    Advance,
    /// [`crate::Backend::elu`] and [`crate::Backend::depthwise`].
    Convolve,
    /// [`crate::Backend::lstm`].
    Lstm,
    /// [`crate::Backend::spectrum`].
    Spectrum,
    /// [`crate::Backend::polar_spectra`] and [`crate::Backend::locked_spectra`].
    Polar,
    /// [`crate::Backend::istft`].
    Istft,
    /// [`crate::Backend::quantize`].
    Quantize,
    /// [`crate::Backend::dequantize`].
    Dequantize,
    /// [`crate::Backend::copy`] and [`crate::Backend::shift`].
    Copy,
}

/// Called with `true` where an operation starts, and with `false` where it ends.
pub type Observer = fn(Operation, bool);

/// Reports the end of an operation when it is dropped.
pub(super) struct Observed(Option<(Observer, Operation)>);

impl Observed {
    /// Reports the start of an operation.
    #[inline]
    pub(super) fn new(observer: Option<Observer>, operation: Operation) -> Observed {
        if let Some(observer) = observer {
            observer(operation, true);
        }
        Observed(observer.map(|observer| (observer, operation)))
    }
}

impl Drop for Observed {
    #[inline]
    fn drop(&mut self) {
        if let Some((observer, operation)) = self.0 {
            observer(operation, false);
        }
    }
}
