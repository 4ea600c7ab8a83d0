//! Loads the tensors of one network of a separator on a backend.

use sideman_kernels::{Act, Format, GroupNorm, Linear, Norm, SeparatorBackend};

use crate::error::Result;
use crate::model::{Tensors, upload};

/// Epsilon of all norms.
const EPS: f32 = 1e-5;

/// Reads tensors below a prefix.
pub struct Loader<'a, B: SeparatorBackend> {
    pub backend: &'a mut B,
    pub tensors: &'a mut Tensors,
    /// Comes before every name.
    pub prefix: String,
}

impl<B: SeparatorBackend> Loader<'_, B> {
    /// Values of a tensor.
    pub fn get(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensors.get(&format!("{}{name}", self.prefix), shape)
    }

    /// A vector on the backend.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<B::Buf> {
        let values = self.get(name, &[len])?;
        upload(self.backend, &values)
    }

    /// Weights and bias as a product without norm and activation.
    pub fn linear(&mut self, rows: usize, cols: usize, weight: &[f32], bias: Option<&[f32]>) -> Result<Linear<B>> {
        let weight = self.backend.mat(rows, cols, weight, Format::F32)?;
        let bias = bias.map(|bias| upload(self.backend, bias)).transpose()?;
        Ok(Linear { weight, bias, norm: None, act: Act::None, add: false })
    }

    /// A convolution of kernel 1: `NAME.weight`, whose shape ends in `ones` dimensions of size 1, and `NAME.bias`.
    pub fn point(&mut self, name: &str, rows: usize, cols: usize, ones: usize) -> Result<Linear<B>> {
        let shape = [&[rows, cols][..], &[1, 1][..ones]].concat();
        let weight = self.get(&format!("{name}.weight"), &shape)?;
        let bias = self.get(&format!("{name}.bias"), &[rows])?;
        self.linear(rows, cols, &weight, Some(&bias))
    }

    /// LayerNorm.
    pub fn norm(&mut self, name: &str, len: usize) -> Result<Norm<B>> {
        let weight = self.vector(&format!("{name}.weight"), len)?;
        Ok(Norm { weight, bias: Some(self.vector(&format!("{name}.bias"), len)?), eps: EPS })
    }

    /// Group normalisation.
    pub fn group_norm(&mut self, name: &str, len: usize) -> Result<GroupNorm<B>> {
        let weight = self.vector(&format!("{name}.weight"), len)?;
        Ok(GroupNorm { weight, bias: self.vector(&format!("{name}.bias"), len)?, eps: EPS })
    }
}
