//! Motion embeddings inside the temporal attentions of a network.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Eq. 3. With `h` the normalised
//! features, the method adds before the projections:
//!
//! ```text
//! Q = (h + MQK) Wq      K = (h + MQK) Wk      V = (h + MV) Wv
//! ```
//!
//! Motion modules of AnimateDiff add the positions of frames to their normalised features before they project. There
//! `h` is that sum: embeddings always join what is projected.
//!
//! The alternatives of [`Integration`] are what ablations of the method ask for; concatenation has a learned
//! [projection](crate::projection).

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use kinvert_nets::kernels::NetBackend;
use kinvert_nets::kernels::elementwise::add;
use kinvert_nets::layers::apply::cast_like;
use kinvert_nets::layers::attention::Projections;
use kinvert_nets::layers::temporal::{AttentionAt, AttentionInputs, TemporalModulation};
use serde::{Deserialize, Serialize};

use crate::embedding::{Embedding, SiteEmbeddings};
use crate::error::Error;
use crate::projection::Projection;

/// How embeddings enter an attention. Learning starts where each way leaves the network as it was: at
/// embeddings of zero, or, where they are concatenated, at a projection of zero.
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
    /// `(h + [h, M] P / 2C) W`, with `[h, M]` side by side along the channels and `P` learned with the
    /// embeddings.
    Concat,
}

impl Integration {
    fn is_before_projection(self) -> bool {
        match self {
            Self::AddBefore | Self::MultiplyBefore | Self::Concat => true,
            Self::AddAfter | Self::MultiplyAfter => false,
        }
    }

    /// Refuses to replay in this way what was learned in another, where that cannot work: a projection
    /// belongs to the embeddings that it was learned with.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check_replays(self, learned: Self) -> Result<(), Error> {
        let expected = match (self, learned) {
            (Self::Concat, Self::Concat) => return Ok(()),
            (_, Self::Concat) => "concat, as the motion was learned",
            (Self::Concat, _) => "another way, for the motion was not learned with projections",
            _ => return Ok(()),
        };
        Err(Error::setting("integration", self, expected))
    }
}

impl fmt::Display for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddBefore => "add-before",
            Self::AddAfter => "add-after",
            Self::MultiplyBefore => "multiply-before",
            Self::MultiplyAfter => "multiply-after",
            Self::Concat => "concat",
        })
    }
}

/// What enters at one site. What is absent changes nothing.
#[derive(Debug, Clone)]
pub struct SiteTensors<B: Backend> {
    /// For queries and keys of both attentions.
    pub query_key: Option<InputTensors<B>>,
    /// For the values of `attn1` and `attn2`.
    pub values: [Option<InputTensors<B>>; 2],
}

/// One embedding, and the projection with which it is concatenated.
#[derive(Debug, Clone)]
pub struct InputTensors<B: Backend> {
    /// `[positions, frames, channels]`, with the positions of the site or a single one.
    pub embedding: Tensor<B, 3>,
    /// `[2 * channels, channels]`; without one, concatenation changes nothing, as with one of zero.
    pub projection: Option<Tensor<B, 2>>,
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

impl<B: NetBackend> MotionModulation<B> {
    /// Moves embeddings and projections to a device, each embedding interpolated to the grid of its site.
    pub fn new(integration: Integration, sites: &[SiteEmbeddings], device: &B::Device) -> Self {
        let sites = sites.iter().map(|site| {
            let mut projections = site.projections.iter();
            let [query_key, value1, value2] = site.embeddings().map(|embedding| {
                let projection = projections.next().and_then(Option::as_ref);
                embedding.map(|embedding| InputTensors {
                    embedding: to_tensor(&embedding.with_grid(site.grid), device),
                    projection: projection.map(|projection| to_matrix(projection, device)),
                })
            });
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
        input: Option<&InputTensors<B>>,
    ) -> Tensor<B, 3> {
        let Some(input) = input else {
            return features;
        };
        let embedding = cast_like(input.embedding.clone(), &features);
        match self.integration {
            Integration::AddBefore | Integration::AddAfter => {
                add(features, for_every_clip(embedding, at.batch))
            }
            Integration::MultiplyBefore | Integration::MultiplyAfter => {
                features.clone() + features * for_every_clip(embedding, at.batch)
            }
            Integration::Concat => match &input.projection {
                None => features,
                // The two halves are projected apart and added, which is the same and does not copy a
                // shared embedding to every position.
                Some(projection) => {
                    let projection = cast_like(projection.clone(), &features);
                    let [rows, channels] = projection.dims();
                    let half = |index| {
                        let first = index * channels;
                        projection.clone().narrow(0, first, channels)
                    };
                    let own = project(features.clone(), half(0));
                    let motion = for_every_clip(project(embedding, half(1)), at.batch);
                    features + (own + motion) / rows as f64
                }
            },
        }
    }
}

/// The same for every clip of a batch, `[positions, frames, channels]`: the position runs fastest, so whole
/// grids are repeated one after the other. A single position is broadcast.
fn for_every_clip<B: Backend>(embedding: Tensor<B, 3>, batch: usize) -> Tensor<B, 3> {
    match (embedding.dims()[0], batch) {
        (1, _) | (_, 1) => embedding,
        (_, batch) => embedding.repeat_dim(0, batch),
    }
}

/// `[positions, frames, channels]` times a matrix, as one large product.
fn project<B: Backend>(x: Tensor<B, 3>, matrix: Tensor<B, 2>) -> Tensor<B, 3> {
    let [positions, frames, channels] = x.dims();
    let rows = x.reshape([positions * frames, channels]);
    let projected = rows.matmul(matrix);
    let channels = projected.dims()[1];
    projected.reshape([positions, frames, channels])
}

impl<B: NetBackend> TemporalModulation<B> for MotionModulation<B> {
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

/// A projection on a device.
pub(crate) fn to_matrix<B: Backend>(projection: &Projection, device: &B::Device) -> Tensor<B, 2> {
    let values = projection.values().to_vec();
    Tensor::from_data(TensorData::new(values, projection.shape()), device)
}

/// An embedding on a device.
pub(crate) fn to_tensor<B: Backend>(embedding: &Embedding, device: &B::Device) -> Tensor<B, 3> {
    Tensor::from_data(
        TensorData::new(embedding.values().to_vec(), embedding.shape()),
        device,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Integration; 5] = [
        Integration::AddBefore,
        Integration::AddAfter,
        Integration::MultiplyBefore,
        Integration::MultiplyAfter,
        Integration::Concat,
    ];

    #[test]
    fn integrations_are_told_by_their_names_in_files() {
        for integration in ALL {
            let json = serde_json::to_string(&integration).unwrap();
            assert_eq!(json, format!("\"{integration}\""));
        }
    }

    #[test]
    fn concatenation_is_replayed_as_such_alone() {
        for learned in ALL {
            for replayed in ALL {
                let is_refused = replayed.check_replays(learned).is_err();
                let is_one_concat =
                    (replayed == Integration::Concat) != (learned == Integration::Concat);
                assert_eq!(is_refused, is_one_concat, "{replayed} of {learned}");
            }
        }
    }

    #[test]
    fn concatenation_is_one_product_with_what_stands_side_by_side() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let source = kinvert_diffusion::NoiseSource::new(3);
        let draw =
            |index, shape| -> Tensor<B, 3> { source.gaussian("test", index, shape, &device) };
        let (features, embedding) = (draw(0, [6, 2, 4]), draw(1, [3, 2, 4]));
        let projection: Tensor<B, 2> = source.gaussian("test", 2, [8, 4], &device);
        let input = InputTensors {
            embedding: embedding.clone(),
            projection: Some(projection.clone()),
        };
        let modulation = MotionModulation {
            integration: Integration::Concat,
            sites: BTreeMap::from([(
                "a".to_string(),
                SiteTensors {
                    query_key: Some(input),
                    values: [None, None],
                },
            )]),
        };
        let at = AttentionAt {
            site: "a",
            attention: 0,
            batch: 2,
            height: 3,
            width: 1,
        };
        let inputs = modulation.inputs(at, features.clone());
        let beside = Tensor::cat(vec![features.clone(), embedding.repeat_dim(0, 2)], 2); // [6, 2, 8]
        let projected = beside
            .reshape([12, 8])
            .matmul(projection)
            .reshape([6, 2, 4]);
        let difference = inputs.query_key - (features.clone() + projected / 8.0);
        assert!(difference.abs().max().into_scalar() < 1e-6);
        assert_eq!(inputs.value.into_data(), features.into_data());
    }
}
