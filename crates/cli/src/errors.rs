//! How errors are told, and which exit code they have.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kinvert_terminal::{FAILED, INTERRUPTED, USAGE, error_message};

/// A mistake on the command line that the parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Some of many things failed, and the others were done.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {of} {what} failed\n  {}", reasons.join("\n  "))]
pub struct PartlyFailed {
    pub failed: usize,
    pub of: usize,
    pub what: &'static str,
    /// Why, for the first few.
    pub reasons: Vec<String>,
}

/// Context of an interruption after which the same command goes on.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Resumable {
    workspace: PathBuf,
}

/// Adds to an interruption where that lies which is done already.
pub fn resumable<T, E: Into<anyhow::Error>>(
    result: Result<T, E>,
    workspace: &Path,
) -> anyhow::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        match is_interruption(&error) {
            true => error.context(Resumable {
                workspace: workspace.to_path_buf(),
            }),
            false => error,
        }
    })
}

/// Tells an error on stderr and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // Nothing is left to be done if stderr is closed.
    let _ = std::io::stderr()
        .lock()
        .write_all(message(error).as_bytes());
    ExitCode::from(exit_code(error))
}

/// The reader of our output has seen enough, as in `kinvert models | head -1`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn message(error: &anyhow::Error) -> String {
    if is_interruption(error) {
        return match error.downcast_ref::<Resumable>() {
            Some(Resumable { workspace }) => format!(
                "interrupted: what was done is kept in {}\nhint: run the same command again to go on\n",
                workspace.display()
            ),
            None => "interrupted\n".into(),
        };
    }
    error_message(error.as_ref(), hint(error))
}

/// What to do, from the first cause that knows.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let kinvert = cause
            .downcast_ref::<kinvert::Error>()
            .and_then(kinvert::Error::hint);
        let video = || {
            cause
                .downcast_ref::<kinvert_video::Error>()
                .and_then(kinvert_video::Error::hint)
        };
        let nets = || {
            cause
                .downcast_ref::<kinvert_nets::Error>()
                .and_then(kinvert_nets::Error::hint)
        };
        let hub = || {
            cause
                .downcast_ref::<kinvert_hub::Error>()
                .and_then(kinvert_hub::Error::hint)
        };
        let sprites = || {
            cause
                .downcast_ref::<kinvert_world::Error>()
                .and_then(kinvert_world::Error::hint)
        };
        let metrics = || {
            cause
                .downcast_ref::<kinvert_metrics::Error>()
                .and_then(kinvert_metrics::Error::hint)
        };
        let planner = || {
            cause
                .downcast_ref::<kinvert_planner::Error>()
                .and_then(kinvert_planner::Error::hint)
        };
        let study = || {
            cause
                .downcast_ref::<kinvert_study::Error>()
                .and_then(kinvert_study::Error::hint)
        };
        kinvert
            .or_else(planner)
            .or_else(study)
            .or_else(video)
            .or_else(nets)
            .or_else(hub)
            .or_else(sprites)
            .or_else(metrics)
    })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if is_interruption(error) {
        INTERRUPTED
    } else if error.chain().any(is_usage) {
        USAGE
    } else {
        FAILED
    }
}

fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(kinvert::Error::Cancelled))
            || matches!(
                cause.downcast_ref(),
                Some(kinvert_metrics::Error::Cancelled)
            )
            || matches!(cause.downcast_ref(), Some(kinvert_hub::Error::Cancelled))
            || matches!(cause.downcast_ref(), Some(kinvert_study::Error::Cancelled))
            || matches!(
                cause.downcast_ref(),
                Some(kinvert_planner::Error::Cancelled)
            )
    })
}

/// Whether an argument is at fault, and not a file or the machine.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    use kinvert::Error as Kinvert;
    use kinvert_diffusion::Error as Diffusion;
    use kinvert_nets::Error as Nets;
    let kinvert =
        |error: &Kinvert| matches!(error, Kinvert::Setting { .. } | Kinvert::NoSuchSite { .. });
    let diffusion = |error: &Diffusion| {
        matches!(
            error,
            Diffusion::Steps { .. } | Diffusion::OutOfRange { .. } | Diffusion::GridTooSmall { .. }
        )
    };
    let video = |error: &kinvert_video::Error| {
        matches!(error, kinvert_video::Error::InvalidArgument { .. })
    };
    let metrics =
        |error: &kinvert_metrics::Error| matches!(error, kinvert_metrics::Error::Argument { .. });
    let planner =
        |error: &kinvert_planner::Error| matches!(error, kinvert_planner::Error::Setting { .. });
    let nets =
        |error: &Nets| matches!(error, Nets::ModelName { .. } | Nets::NoSuchPrecision { .. });
    cause.is::<Usage>()
        || cause.downcast_ref().is_some_and(nets)
        || cause.downcast_ref().is_some_and(planner)
        || cause.downcast_ref().is_some_and(kinvert)
        || cause.downcast_ref().is_some_and(diffusion)
        || cause.downcast_ref().is_some_and(video)
        || cause.downcast_ref().is_some_and(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_hints_stand_on_lines_of_their_own() {
        let missing = kinvert_nets::Error::Missing {
            path: "m/unet/config.json".into(),
        };
        let error = anyhow::Error::from(kinvert::Error::from(missing));
        let text = message(&error);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "error: cannot load the base model",
                "  because: m/unet/config.json: no such file"
            ]
        );
        assert!(lines[2].starts_with("hint: "), "{text}");
        assert_eq!(exit_code(&error), FAILED);
    }

    #[test]
    fn codes_tell_usage_from_failure_and_interruption() {
        let diffusion = kinvert_diffusion::Error::Steps {
            found: 0,
            expected: "1".into(),
        };
        assert_eq!(exit_code(&kinvert::Error::from(diffusion).into()), USAGE);
        assert_eq!(exit_code(&kinvert_video::Error::EmptyClip.into()), FAILED);
        let stopped =
            resumable::<(), _>(Err(kinvert::Error::Cancelled), Path::new("x.work")).unwrap_err();
        assert_eq!(exit_code(&stopped), INTERRUPTED);
        assert!(message(&stopped).contains("x.work"));
        assert_eq!(message(&kinvert::Error::Cancelled.into()), "interrupted\n");
    }
}
