//! What a process is told before it computes on the CPU.

/// Makes this thread a worker of the pool that CPU kernels share; see [`prepare_process`](super::prepare_process).
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
