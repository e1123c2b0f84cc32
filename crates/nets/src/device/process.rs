//! What a process is told before it computes; see [`prepare_process`](super::prepare_process).

/// Makes this thread a worker of the pool that CPU kernels share.
#[cfg(feature = "cpu")]
pub(super) fn join_workers() {
    let wanted = std::env::var("RAYON_NUM_THREADS").ok();
    let wanted = wanted.and_then(|count| count.parse().ok());
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    // If this thread were the only worker, what other threads hand over would wait for ever.
    if wanted.filter(|count| *count > 0).unwrap_or_else(processors) > 1 {
        let pool = rayon::ThreadPoolBuilder::new().use_current_thread();
        let _ = pool.build_global(); // which fails if there is one, and that serves as well
    }
}

/// Has the engine keep compiled GPU kernels on disk, beside what it learned of which are the fastest; by itself it would
/// compile them anew in every process. It would also read a `cubecl.toml` of the folder that the program is started in, and
/// panic at one that is damaged: that file is nobody's to place there, and is not read.
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
pub(super) fn keep_compiled_kernels() {
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    if CubeClRuntimeConfig::storage().lock().is_some() {
        return; // too late: the engine is at work
    }
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    let where_it_tunes = config.autotune.cache.clone();
    config.compilation.cache.get_or_insert(where_it_tunes);
    CubeClRuntimeConfig::set(config);
}
