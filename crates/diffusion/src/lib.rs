//! Noise schedules, samplers, DDIM inversion, guidance and initial noise of diffusion models.
