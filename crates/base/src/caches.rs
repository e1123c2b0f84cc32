//! Where programs of this user keep what they can make again.

use std::ffi::OsString;
use std::path::PathBuf;

/// The variable of the environment that names the folder.
pub const CACHE_VARIABLE: &str = "KINVERT_CACHE";

/// The folder that [`CACHE_VARIABLE`] names; else `kinvert` in the folder where this system keeps caches. None if the
/// user has no home. It need not exist.
pub fn cache_folder() -> Option<PathBuf> {
    folder_of(|variable| std::env::var_os(variable), std::env::home_dir())
}

fn folder_of(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    let folder = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder(CACHE_VARIABLE).or_else(|| {
        let caches = folder("XDG_CACHE_HOME")
            .or_else(|| folder("LOCALAPPDATA"))
            .or_else(|| Some(home?.join(".cache")))?;
        Some(caches.join("kinvert"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_own_variable_comes_first_and_an_empty_one_counts_as_unset() {
        let found = |set: &[(&str, &str)], home: Option<&str>| {
            let value = |name: &str| set.iter().find(|(known, _)| *known == name);
            folder_of(
                |name| value(name).map(|(_, value)| value.into()),
                home.map(PathBuf::from),
            )
        };
        let own = (CACHE_VARIABLE, "/own");
        let xdg = ("XDG_CACHE_HOME", "/xdg");
        assert_eq!(found(&[own, xdg], None).as_deref(), Some(Path::new("/own")));
        assert_eq!(
            found(&[(CACHE_VARIABLE, ""), xdg], None).as_deref(),
            Some(Path::new("/xdg/kinvert"))
        );
        assert_eq!(
            found(&[], Some("/home")).as_deref(),
            Some(Path::new("/home/.cache/kinvert"))
        );
        assert_eq!(found(&[], None), None);
    }
}
