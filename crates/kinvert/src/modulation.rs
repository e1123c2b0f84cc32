//! Motion embeddings inside the temporal attentions of a network.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Eq. 3. With `h` the normalised
//! features, the method adds before the projections:
//!
//! ```text
//! Q = (h + MQK) Wq      K = (h + MQK) Wk      V = (h + MV) Wv
//! ```
//!
//! The alternatives of [`Integration`] are what ablations of the method ask for.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use kinvert_nets::layers::attention::Projections;
use kinvert_nets::layers::temporal::{AttentionAt, AttentionInputs, TemporalModulation};
use serde::{Deserialize, Serialize};

use crate::embedding::{Embedding, SiteEmbeddings};

/// How embeddings enter an attention. With embeddings of zero every way leaves the network as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integration {
    /// `(h + M) W`: the method (Eq. 3).
    #[default]
    AddBefore,
    /// `h W + M`.
    AddAfter,
    /// `(h * (1 + M)) W`.
    MultiplyBefore,
    /// `(h W) * (1 + M)`.
    MultiplyAfter,
}

impl Integration {
    fn is_before_projection(self) -> bool {
        matches!(self, Self::AddBefore | Self::MultiplyBefore)
    }

    /// Puts an embedding, already of the features' shape or broadcastable to it, into features.
    fn apply<B: Backend>(self, features: Tensor<B, 3>, embedding: Tensor<B, 3>) -> Tensor<B, 3> {
        match self {
            Self::AddBefore | Self::AddAfter => features + embedding,
            Self::MultiplyBefore | Self::MultiplyAfter => features.clone() + features * embedding,
        }
    }
}

/// The embeddings of one site as tensors, `[positions, frames, channels]` with the positions of the site or a
/// single one. What is absent changes nothing.
#[derive(Debug, Clone)]
pub struct SiteTensors<B: Backend> {
    /// For queries and keys of both attentions.
    pub query_key: Option<Tensor<B, 3>>,
    /// For the values of `attn1` and `attn2`.
    pub values: [Option<Tensor<B, 3>>; 2],
}

impl<B: Backend> SiteTensors<B> {
    fn is_empty(&self) -> bool {
        self.query_key.is_none() && self.values.iter().all(Option::is_none)
    }
}

/// Embeddings of several sites, ready for a forward pass.
#[derive(Debug, Clone)]
pub struct MotionModulation<B: Backend> {
    /// How they enter.
    pub integration: Integration,
    /// By site.
    pub sites: BTreeMap<String, SiteTensors<B>>,
}

impl<B: Backend> MotionModulation<B> {
    /// Moves embeddings to a device, each interpolated to the grid of its site.
    pub fn new(integration: Integration, sites: &[SiteEmbeddings], device: &B::Device) -> Self {
        let sites = sites.iter().map(|site| {
            let tensor = |embedding: &Embedding| to_tensor(&embedding.with_grid(site.grid), device);
            let [query_key, value1, value2] = site.embeddings().map(|found| found.map(tensor));
            let tensors = SiteTensors {
                query_key,
                values: [value1, value2],
            };
            (site.site.clone(), tensors)
        });
        Self {
            integration,
            sites: sites.collect(),
        }
    }

    /// Leaves the value embeddings out.
    pub fn without_values(mut self) -> Self {
        for site in self.sites.values_mut() {
            site.values = [None, None];
        }
        self
    }

    /// Leaves the query-key embeddings out.
    pub fn without_query_key(mut self) -> Self {
        for site in self.sites.values_mut() {
            site.query_key = None;
        }
        self
    }

    /// Whether there is no embedding at all, so that the network is the plain one.
    pub fn is_empty(&self) -> bool {
        self.sites.values().all(SiteTensors::is_empty)
    }

    fn apply(
        &self,
        at: AttentionAt<'_>,
        features: Tensor<B, 3>,
        embedding: Option<&Tensor<B, 3>>,
    ) -> Tensor<B, 3> {
        match embedding {
            None => features,
            Some(embedding) => {
                // The same embeddings for every clip of the batch: the position runs fastest, so whole
                // grids are repeated one after the other.
                let positions = embedding.dims()[0];
                let embedding = match (positions, at.batch) {
                    (1, _) | (_, 1) => embedding.clone(),
                    (_, batch) => embedding.clone().repeat_dim(0, batch),
                };
                self.integration.apply(features, embedding)
            }
        }
    }
}

impl<B: Backend> TemporalModulation<B> for MotionModulation<B> {
    fn inputs(&self, at: AttentionAt<'_>, features: Tensor<B, 3>) -> AttentionInputs<B> {
        match self.sites.get(at.site) {
            Some(site) if self.integration.is_before_projection() => AttentionInputs {
                query_key: self.apply(at, features.clone(), site.query_key.as_ref()),
                value: self.apply(at, features, site.values[at.attention].as_ref()),
            },
            _ => AttentionInputs {
                query_key: features.clone(),
                value: features,
            },
        }
    }

    fn projections(&self, at: AttentionAt<'_>, projections: Projections<B>) -> Projections<B> {
        match self.sites.get(at.site) {
            Some(site) if !self.integration.is_before_projection() => Projections {
                query: self.apply(at, projections.query, site.query_key.as_ref()),
                key: self.apply(at, projections.key, site.query_key.as_ref()),
                value: self.apply(at, projections.value, site.values[at.attention].as_ref()),
            },
            _ => projections,
        }
    }
}

/// An embedding on a device.
pub(crate) fn to_tensor<B: Backend>(embedding: &Embedding, device: &B::Device) -> Tensor<B, 3> {
    Tensor::from_data(
        TensorData::new(embedding.values().to_vec(), embedding.shape()),
        device,
    )
}
