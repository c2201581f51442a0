//! Weights on disk: one trait over GGUF files and safetensors folders, and the view of them that a decoder loads from.

use std::fs::File;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use super::ModelError;
use super::config::ModelConfig;
use super::cpu::packed::MatrixView;
use super::families::{Place, Scheme, place};
use super::quant::WeightType;

/// The tensors a decoder asks for, by role; [`super::families`] knows what a file calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embeddings, `vocab × hidden`.
    Embedding,
    /// Vectors of positions, `context × hidden`.
    Positions,
    /// Final norm.
    OutputNorm,
    /// Output projection, `vocab × hidden`.
    Output,
    /// Norm before attention.
    AttentionNorm,
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Norm of each head's query.
    QNorm,
    /// Norm of each head's key.
    KNorm,
    /// Latent attention: to the vector that queries are made of.
    QDown,
    /// Its norm.
    QDownNorm,
    /// From it to the queries.
    QUp,
    /// To the vector that keys and values are made of, and the part of the key that turns.
    KvDown,
    /// Norm of that vector.
    KvDownNorm,
    /// From it to keys and values, head by head: the key's still part, then the value.
    KvUp,
    /// Attention output projection.
    O,
    /// Norm behind attention.
    PostAttentionNorm,
    /// Norm before the feed-forward half.
    FeedForwardNorm,
    /// Scores of the experts, `experts × hidden`.
    Router,
    /// Gate projection.
    Gate(Net),
    /// Up projection.
    Up(Net),
    /// Down projection.
    Down(Net),
    /// Norm behind the feed-forward half.
    PostFeedForwardNorm,
}

/// A feed-forward net of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Net {
    /// The only one.
    Whole,
    /// One of the experts.
    Expert(usize),
    /// The one beside the experts that every row takes.
    Shared,
}

/// The bytes of a file.
pub(super) enum FileBytes {
    /// Mapped: the system reads what is looked at.
    Mapped(Mmap),
    /// In memory.
    Memory(Vec<u8>),
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

impl FileBytes {
    /// Lets the system take back the memory of some of these bytes, which it reads again when they are looked at again. So
    /// loading takes the memory of the packed weights, and not that of the file besides.
    pub fn release(&self, part: &[u8]) {
        let Self::Mapped(map) = self else { return };
        let (all, part) = (map.as_ptr_range(), part.as_ptr_range());
        if part.start < all.start || part.end > all.end {
            return;
        }
        let offset = part.start as usize - all.start as usize;
        let length = part.end as usize - part.start as usize;
        // SAFETY: pages of a file that is mapped for reading only hold nothing that is not in the file.
        let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length) };
        // Advice that is not taken costs memory only.
        let _ = advised;
    }
}

/// Maps a file into memory.
pub(super) fn map(path: &Path) -> Result<FileBytes, ModelError> {
    let failed =
        |e: std::io::Error| ModelError::File { path: path.display().to_string(), reason: e.to_string() };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the file is opened for reading only; a model file that another process rewrites while we run
    // is outside of what we can guard against (it would be as wrong when read in pieces).
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    Ok(FileBytes::Mapped(map))
}

/// Weight or bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The matrix, or a norm's vector.
    Weight,
    /// The bias.
    Bias,
}

/// A model's tensors.
pub trait WeightSource {
    /// How its tensors are named.
    fn scheme(&self) -> Scheme;
    /// Whether a tensor of that name exists.
    fn has(&self, name: &str) -> bool;
    /// A tensor as the bytes of a matrix; a vector is a matrix of one row, and of more than two dimensions all but the
    /// last are rows.
    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError>;
    /// What a matrix of this source was read from is not needed for now: its memory may be given back.
    fn release(&self, _: &MatrixView<'_>) {}
}

/// A model's tensors by what they are for.
#[derive(Clone, Copy)]
pub struct Tensors<'a> {
    /// Where they come from.
    pub source: &'a (dyn WeightSource + Sync),
    /// What they are tensors of.
    pub config: &'a ModelConfig,
    /// What dense matrices are quantised to when they are loaded.
    pub quantise: Option<WeightType>,
}

impl<'a> Tensors<'a> {
    fn place(&self, role: Role, layer: usize, part: Part) -> Place {
        place(self.source.scheme(), self.config, role, layer, part)
    }

    /// Whether there is such a tensor.
    pub fn has(&self, role: Role, layer: usize, part: Part) -> bool {
        self.source.has(&self.place(role, layer, part).tensor)
    }

    /// The weights of a linear layer, `rows × cols`.
    pub fn matrix(
        &self,
        role: Role,
        layer: usize,
        rows: usize,
        cols: usize,
    ) -> Result<MatrixView<'a>, ModelError> {
        let Place { tensor, rows: some } = self.place(role, layer, Part::Weight);
        let whole = self.source.matrix(&tensor)?;
        let found = vec![whole.rows, whole.cols];
        let (fits, needed) = match some {
            None => (whole.rows == rows, rows),
            Some(some) => {
                (some.needed(rows).is_some_and(|n| n <= whole.rows), some.needed(rows).unwrap_or(rows))
            }
        };
        if whole.cols != cols || !fits {
            return Err(ModelError::Shape { tensor, found, expected: vec![needed, cols] });
        }
        Ok(some.map_or(whole, |some| whole.part(some, rows)))
    }

    /// A vector of the given length, in f32: a bias, or the weights of a norm.
    pub fn vector(&self, role: Role, layer: usize, part: Part, len: usize) -> Result<Vec<f32>, ModelError> {
        let Place { tensor, rows: some } = self.place(role, layer, part);
        let view = self.source.matrix(&tensor)?;
        let (fits, needed) = match some {
            None => (view.cols == len, len),
            Some(some) => (some.needed(len).is_some_and(|n| n <= view.cols), some.needed(len).unwrap_or(len)),
        };
        if view.rows != 1 || !fits {
            let found = vec![view.rows, view.cols];
            return Err(ModelError::Shape { tensor, found, expected: vec![1, needed] });
        }
        let mut whole = vec![0.0; view.cols];
        view.row_f32(0, &mut whole);
        Ok(match some {
            None => whole,
            Some(some) => (0..len).map(|i| whole[some.row(i)]).collect(),
        })
    }

    /// The bias of a linear layer, if it has one.
    pub fn bias(&self, role: Role, layer: usize, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        let biases = self.config.biases;
        let must = match role {
            Role::Q | Role::K | Role::V => biases.heads,
            Role::O => biases.attention_out,
            Role::Gate(_) | Role::Up(_) | Role::Down(_) => biases.feed_forward,
            Role::Output => biases.output,
            _ => false,
        };
        if must || self.has(role, layer, Part::Bias) {
            self.vector(role, layer, Part::Bias, len).map(Some)
        } else {
            Ok(None)
        }
    }
}
