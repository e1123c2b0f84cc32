//! Plans for many papers, and how well they meet the ablations that people chose.
//!
//! Definitions follow AblationBench (Abramovich and Chechik, arXiv:2507.08038); where they differ it says so.
