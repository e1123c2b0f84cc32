//! The networks of published text-to-video models, exactly as published, and loading them.
