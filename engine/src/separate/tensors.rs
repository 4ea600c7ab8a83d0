//! The tensors of one network of a separator, with their names and shapes: those of the package `demucs`.

use super::config::{DEPTH, HtdemucsSizes};

/// A tensor that a network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
}

struct List(Vec<Needed>);

impl List {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.0.push(Needed { name, shape: shape.to_vec() });
    }

    /// A weight, and a bias of `bias` values.
    fn pair(&mut self, name: String, weight: &[usize], bias: usize) {
        self.add(format!("{name}.weight"), weight);
        self.add(format!("{name}.bias"), &[bias]);
    }

    fn dconv(&mut self, name: String, width: usize) {
        let hidden = width / 8;
        for d in 0..2 {
            let name = |part: usize| format!("{name}.dconv.layers.{d}.{part}");
            self.pair(name(0), &[hidden, width, 3], hidden);
            self.pair(name(1), &[hidden], hidden);
            self.pair(name(3), &[2 * width, hidden, 1], 2 * width);
            self.pair(name(4), &[2 * width], 2 * width);
            self.add(format!("{}.scale", name(6)), &[width]);
        }
    }
}

/// Tensors of Hybrid Transformer Demucs for `sources` sources.
pub fn htdemucs(sizes: &HtdemucsSizes, sources: usize) -> Vec<Needed> {
    let mut list = List(Vec::new());
    for (branch, first) in [("", 4), ("t", 2)] {
        // A convolution of the frequency branch has one more dimension.
        let conv = |sizes: [usize; 3]| if branch.is_empty() { [&sizes[..], &[1]].concat() } else { sizes.to_vec() };
        for i in 0..DEPTH {
            let (input, width) = (if i == 0 { first } else { sizes.width(i - 1) }, sizes.width(i));
            let name = |part: &str| format!("{branch}encoder.{i}{part}");
            list.pair(name(".conv"), &conv([width, input, 8]), width);
            list.pair(name(".rewrite"), &conv([2 * width, width, 1]), 2 * width);
            list.dconv(name(""), width);
        }
        for j in 0..DEPTH {
            let width = sizes.width(DEPTH - 1 - j);
            let output = if j == DEPTH - 1 { first * sources } else { sizes.width(DEPTH - 2 - j) };
            let name = |part: &str| format!("{branch}decoder.{j}{part}");
            let rewrite: &[usize] = if branch.is_empty() { &[2 * width, width, 3, 3] } else { &[2 * width, width, 3] };
            list.pair(name(".conv_tr"), &conv([width, output, 8]), output);
            list.pair(name(".rewrite"), rewrite, 2 * width);
            list.dconv(name(""), width);
        }
    }
    list.add("freq_emb.embedding.weight".into(), &[sizes.n_fft / 8, sizes.channels]);
    let (top, dim) = (sizes.width(DEPTH - 1), sizes.dim());
    for branch in ["", "_t"] {
        if sizes.bottom > 0 {
            list.pair(format!("channel_upsampler{branch}"), &[dim, top, 1], dim);
            list.pair(format!("channel_downsampler{branch}"), &[top, dim, 1], top);
        }
        list.pair(format!("crosstransformer.norm_in{branch}"), &[dim], dim);
        for n in 0..sizes.layers {
            let name = |part: &str| format!("crosstransformer.layers{branch}.{n}.{part}");
            let is_cross = n % 2 == 1;
            let attention = if is_cross { "cross_attn" } else { "self_attn" };
            list.add(name(&format!("{attention}.in_proj_weight")), &[3 * dim, dim]);
            list.add(name(&format!("{attention}.in_proj_bias")), &[3 * dim]);
            list.pair(name(&format!("{attention}.out_proj")), &[dim, dim], dim);
            list.pair(name("linear1"), &[sizes.ffn, dim], sizes.ffn);
            list.pair(name("linear2"), &[dim, sizes.ffn], dim);
            let norms: &[&str] =
                if is_cross { &["norm1", "norm2", "norm3", "norm_out"] } else { &["norm1", "norm2", "norm_out"] };
            norms.iter().for_each(|norm| list.pair(name(norm), &[dim], dim));
            (1..=2).for_each(|g| list.add(name(&format!("gamma_{g}.scale")), &[dim]));
        }
    }
    list.0
}
