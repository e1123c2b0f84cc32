//! How much noise each training timestep holds, and what follows from it.
//!
//! A sample at timestep `t` is `alpha x0 + sigma epsilon` with `alpha = sqrt(alphas_cumprod[t])` and
//! `sigma = sqrt(1 - alphas_cumprod[t])` (*DDPM*, arXiv:2006.11239, Eq. 4). All scalars are computed in f64
//! and only then applied to tensors; numbers agree with diffusers 0.42.1. Tensors have any rank, with the
//! batch first; gradients flow through everything here.

use std::f64::consts::FRAC_PI_2;

use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::{BetaSchedule, Error, PredictionType, SchedulerConfig};

/// The least part of the signal's variance that a schedule may leave at its end. Below it `1 / alpha` is so
/// large that an f32 prediction of `x0` means nothing.
const MIN_ALPHA_CUMPROD: f64 = 1e-20;

/// A noise schedule: the table that training and every sampler share.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::{NoiseSchedule, NoiseSource, SchedulerConfig};
///
/// let schedule = NoiseSchedule::new(&SchedulerConfig::default())?;
/// let device = Default::default();
/// let x0 = Tensor::<Flex, 5>::ones([1, 4, 2, 8, 8], &device);
/// let noise = NoiseSource::new(7).gaussian("example", 0, [1, 4, 2, 8, 8], &device);
///
/// let noisy = schedule.add_noise(x0.clone(), noise.clone(), &[400]);
/// let restored = schedule.predict_x0(noise, noisy, &[400]); // a model that knows the noise
/// assert!((restored - x0).abs().max().into_scalar() < 1e-4);
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NoiseSchedule {
    config: SchedulerConfig,
    alphas_cumprod: Vec<f64>,
}

impl NoiseSchedule {
    /// Computes the schedule that `config` describes.
    ///
    /// # Errors
    /// [`Error::Config`] if a value is out of range, or if the betas leave nothing of the signal.
    pub fn new(config: &SchedulerConfig) -> Result<Self, Error> {
        const ORIGIN: &str = "scheduler settings";
        config.validate(ORIGIN)?;
        let mut alphas_cumprod = cumulative_product(&betas(config));
        if let Some(last) = alphas_cumprod.last().filter(|a| **a < MIN_ALPHA_CUMPROD) {
            return Err(Error::Config {
                origin: ORIGIN.to_owned(),
                field: match config.trained_betas {
                    Some(_) => "trained_betas",
                    None => "beta_end",
                },
                found: format!("so large that {last:e} of the signal is left at the last timestep"),
                expected: format!("at least {MIN_ALPHA_CUMPROD:e}"),
            });
        }
        if config.rescale_betas_zero_snr {
            rescale_to_zero_snr(&mut alphas_cumprod);
        }
        Ok(Self {
            config: config.clone(),
            alphas_cumprod,
        })
    }

    /// The settings it was computed from.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Number of training timesteps; timesteps run from 0 up to it, excluded.
    pub fn num_train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Share of the signal in the variance of a sample, per timestep, falling.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// What models of this schedule predict.
    pub fn prediction_type(&self) -> PredictionType {
        self.config.prediction_type
    }

    /// `alphas_cumprod` for a timestep that may lie below 0, where `set_alpha_to_one` decides.
    pub(crate) fn alpha_cumprod_or_final(&self, timestep: Option<usize>) -> f64 {
        match timestep {
            Some(timestep) => self.alphas_cumprod[timestep],
            None if self.config.set_alpha_to_one => 1.0,
            None => self.alphas_cumprod[0],
        }
    }

    /// Noisy samples: `alpha x0 + sigma noise`. `timesteps` holds one timestep for the whole batch or one
    /// per item; both tensors are `[batch, ...]`.
    ///
    /// # Panics
    /// If the shapes differ, or `timesteps` is neither of length 1 nor of the batch's, or holds a timestep
    /// beyond the schedule.
    pub fn add_noise<B: Backend, const D: usize>(
        &self,
        x0: Tensor<B, D>,
        noise: Tensor<B, D>,
        timesteps: &[usize],
    ) -> Tensor<B, D> {
        self.levels(timesteps).mix(x0, noise)
    }

    /// Velocities `alpha noise - sigma x0`, the target of `v_prediction` models. Arguments as in
    /// [`add_noise`](Self::add_noise).
    ///
    /// # Panics
    /// As [`add_noise`](Self::add_noise) does.
    pub fn velocity<B: Backend, const D: usize>(
        &self,
        x0: Tensor<B, D>,
        noise: Tensor<B, D>,
        timesteps: &[usize],
    ) -> Tensor<B, D> {
        let Levels { alpha, sigma } = self.levels(timesteps);
        scale(noise, &alpha) - scale(x0, &sigma)
    }

    /// What a perfect model would return for `add_noise(x0, noise, timesteps)`: the noise or the velocity,
    /// as [`prediction_type`](Self::prediction_type) says.
    ///
    /// # Panics
    /// As [`add_noise`](Self::add_noise) does.
    pub fn target<B: Backend, const D: usize>(
        &self,
        x0: Tensor<B, D>,
        noise: Tensor<B, D>,
        timesteps: &[usize],
    ) -> Tensor<B, D> {
        match self.prediction_type() {
            PredictionType::Epsilon => noise,
            PredictionType::VPrediction => self.velocity(x0, noise, timesteps),
        }
    }

    /// The clean sample that a model's output for `sample` stands for. Arguments as in
    /// [`add_noise`](Self::add_noise).
    ///
    /// # Panics
    /// As [`add_noise`](Self::add_noise) does.
    pub fn predict_x0<B: Backend, const D: usize>(
        &self,
        model_output: Tensor<B, D>,
        sample: Tensor<B, D>,
        timesteps: &[usize],
    ) -> Tensor<B, D> {
        self.levels(timesteps)
            .x0(self.prediction_type(), model_output, sample)
    }

    /// The noise that a model's output for `sample` stands for. Arguments as in
    /// [`add_noise`](Self::add_noise).
    ///
    /// # Panics
    /// As [`add_noise`](Self::add_noise) does.
    pub fn predict_epsilon<B: Backend, const D: usize>(
        &self,
        model_output: Tensor<B, D>,
        sample: Tensor<B, D>,
        timesteps: &[usize],
    ) -> Tensor<B, D> {
        self.levels(timesteps)
            .epsilon(self.prediction_type(), model_output, sample)
    }

    fn levels(&self, timesteps: &[usize]) -> Levels {
        let count = self.num_train_timesteps();
        let alpha_cumprod = |&timestep: &usize| match self.alphas_cumprod.get(timestep) {
            Some(alpha_cumprod) => *alpha_cumprod,
            None => panic!("timestep {timestep} lies beyond a schedule of {count}"),
        };
        Levels::from_alphas_cumprod(timesteps.iter().map(alpha_cumprod))
    }
}

/// Amplitudes of signal and noise in samples: one pair for a whole batch, or one per item.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    /// Amplitude of the signal.
    alpha: Vec<f64>,
    /// Amplitude of the noise; `alpha^2 + sigma^2 = 1`.
    sigma: Vec<f64>,
}

impl Levels {
    /// One level for a whole batch.
    pub(crate) fn one(alpha_cumprod: f64) -> Self {
        Self::from_alphas_cumprod([alpha_cumprod])
    }

    fn from_alphas_cumprod(alphas_cumprod: impl IntoIterator<Item = f64>) -> Self {
        let amplitudes = |a: f64| (a.sqrt(), (1.0 - a).sqrt());
        let (alpha, sigma) = alphas_cumprod.into_iter().map(amplitudes).unzip();
        Self { alpha, sigma }
    }

    /// The sample made of a clean one and noise.
    pub(crate) fn mix<B: Backend, const D: usize>(
        &self,
        x0: Tensor<B, D>,
        noise: Tensor<B, D>,
    ) -> Tensor<B, D> {
        scale(x0, &self.alpha) + scale(noise, &self.sigma)
    }

    /// The clean sample that a model's output stands for.
    pub(crate) fn x0<B: Backend, const D: usize>(
        &self,
        prediction_type: PredictionType,
        model_output: Tensor<B, D>,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D> {
        match prediction_type {
            PredictionType::Epsilon => {
                let reciprocal: Vec<f64> = self.alpha.iter().map(|alpha| alpha.recip()).collect();
                scale(sample - scale(model_output, &self.sigma), &reciprocal)
            }
            PredictionType::VPrediction => {
                scale(sample, &self.alpha) - scale(model_output, &self.sigma)
            }
        }
    }

    /// The noise that a model's output stands for.
    pub(crate) fn epsilon<B: Backend, const D: usize>(
        &self,
        prediction_type: PredictionType,
        model_output: Tensor<B, D>,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D> {
        match prediction_type {
            PredictionType::Epsilon => model_output,
            PredictionType::VPrediction => {
                scale(model_output, &self.alpha) + scale(sample, &self.sigma)
            }
        }
    }
}

/// `x` times a factor for the whole batch, or times one factor per item of the batch.
fn scale<B: Backend, const D: usize>(x: Tensor<B, D>, factors: &[f64]) -> Tensor<B, D> {
    if let [factor] = factors {
        return x.mul_scalar(*factor);
    }
    let batch = x.dims()[0];
    assert_eq!(
        factors.len(),
        batch,
        "expected one timestep, or one for each of {batch} items"
    );
    let mut shape = [1; D];
    shape[0] = batch;
    let data = TensorData::new(factors.to_vec(), shape);
    let factors = Tensor::from_data(data, (&x.device(), x.dtype()));
    x * factors
}

/// The variance added at each timestep.
fn betas(config: &SchedulerConfig) -> Vec<f64> {
    if let Some(betas) = &config.trained_betas {
        return betas.clone();
    }
    let count = config.num_train_timesteps;
    let (start, end) = (config.beta_start, config.beta_end);
    let between = |start: f64, end: f64| {
        let stride = (end - start) / (count - 1) as f64;
        (0..count).map(move |i| start + i as f64 * stride)
    };
    match config.beta_schedule {
        BetaSchedule::Linear => between(start, end).collect(),
        BetaSchedule::ScaledLinear => between(start.sqrt(), end.sqrt())
            .map(|root| root * root)
            .collect(),
        BetaSchedule::SquaredCosine => {
            let signal = |i: usize| {
                let time = i as f64 / count as f64;
                ((time + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
            };
            (0..count)
                .map(|i| (1.0 - signal(i + 1) / signal(i)).min(0.999))
                .collect()
        }
    }
}

fn cumulative_product(betas: &[f64]) -> Vec<f64> {
    let mut product = 1.0;
    let remaining = betas.iter().map(|beta| {
        product *= 1.0 - beta;
        product
    });
    remaining.collect()
}

/// Shifts and stretches the amplitudes of the signal so that the first stays and the last becomes 0
/// (arXiv:2305.08891, Algorithm 1).
fn rescale_to_zero_snr(alphas_cumprod: &mut [f64]) {
    let (Some(first), Some(last)) = (alphas_cumprod.first(), alphas_cumprod.last()) else {
        return;
    };
    let (first, last) = (first.sqrt(), last.sqrt());
    for alpha_cumprod in alphas_cumprod {
        *alpha_cumprod = ((alpha_cumprod.sqrt() - last) * first / (first - last)).powi(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_snr_keeps_the_first_level_and_ends_without_signal() {
        let plain = SchedulerConfig {
            prediction_type: PredictionType::VPrediction,
            ..SchedulerConfig::default()
        };
        let rescaled = SchedulerConfig {
            rescale_betas_zero_snr: true,
            ..plain.clone()
        };
        let plain = NoiseSchedule::new(&plain).unwrap();
        let rescaled = NoiseSchedule::new(&rescaled).unwrap();
        let (plain, rescaled) = (plain.alphas_cumprod(), rescaled.alphas_cumprod());
        assert!((plain[0] - rescaled[0]).abs() < 1e-15);
        assert_eq!(rescaled[999], 0.0);
        assert!(rescaled.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn squared_cosine_follows_its_closed_form_until_the_cap() {
        let config = SchedulerConfig {
            beta_schedule: BetaSchedule::SquaredCosine,
            ..SchedulerConfig::default()
        };
        let schedule = NoiseSchedule::new(&config).unwrap();
        let closed = |t: f64| ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2);
        for timestep in [0, 1, 500, 998] {
            let expected = closed((timestep + 1) as f64 / 1000.0) / closed(0.0);
            let found = schedule.alphas_cumprod()[timestep];
            assert!((found / expected - 1.0).abs() < 1e-9, "{timestep}: {found}");
        }
        let [.., before, last] = schedule.alphas_cumprod() else {
            panic!("a thousand timesteps");
        };
        assert!((last / before - 0.001).abs() < 1e-12);
    }

    #[test]
    fn trained_betas_replace_the_formula() {
        let config = SchedulerConfig {
            num_train_timesteps: 3,
            trained_betas: Some(vec![0.1, 0.2, 0.5]),
            ..SchedulerConfig::default()
        };
        let schedule = NoiseSchedule::new(&config).unwrap();
        let expected = [0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.5];
        assert_eq!(schedule.alphas_cumprod(), expected);
    }
}
