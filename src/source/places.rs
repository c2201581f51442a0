//! Where files are looked for and kept, and what the environment says about the hub.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Kind, SourceError};

/// Folders and settings taken from the environment, once.
#[derive(Debug, Clone)]
pub struct Places {
    /// Our own folder of fetched files: `VIGOR_CACHE`, else `$XDG_CACHE_HOME/vigor`, else `~/.cache/vigor`.
    pub cache: PathBuf,
    /// The user's own manifests: `VIGOR_CONFIG`, else `$XDG_CONFIG_HOME/vigor`, else `~/.config/vigor`.
    pub config: Option<PathBuf>,
    /// The Hugging Face cache: `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    pub hub_cache: Option<PathBuf>,
    /// The hub's address: `HF_ENDPOINT`, else `https://huggingface.co`.
    pub hub_endpoint: String,
    /// The hub's access token: `HF_TOKEN`, else the file `$HF_TOKEN_PATH` or `$HF_HOME/token`.
    pub hub_token: Option<String>,
    /// Why no network may be used, if so: the name of the variable that forbids it.
    pub offline: Option<&'static str>,
    /// The Python whose `pip` downloads wheels: `VIGOR_PYTHON`, else `python3`.
    pub python: PathBuf,
}

impl Places {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`SourceError::NoCache`] when neither `VIGOR_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
    pub fn from_env() -> Result<Self, SourceError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// The same, from any look-up of variables. Empty variables count as unset.
    ///
    /// # Errors
    /// See [`Places::from_env`].
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, SourceError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(PathBuf::from);
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
        let home = path("HOME");
        let under_home = |below: &str| home.as_ref().map(|home| home.join(below));

        let xdg_cache = path("XDG_CACHE_HOME").or_else(|| under_home(".cache"));
        let cache = path("VIGOR_CACHE")
            .or_else(|| xdg_cache.as_ref().map(|folder| folder.join("vigor")))
            .ok_or(SourceError::NoCache)?;
        let config = path("VIGOR_CONFIG").or_else(|| {
            path("XDG_CONFIG_HOME").or_else(|| under_home(".config")).map(|folder| folder.join("vigor"))
        });
        let hub_home = path("HF_HOME").or_else(|| xdg_cache.map(|folder| folder.join("huggingface")));
        let hub_cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hub_home.as_ref().map(|folder| folder.join("hub")));
        let hub_token = text("HF_TOKEN")
            .or_else(|| {
                let file = path("HF_TOKEN_PATH").or_else(|| hub_home.map(|folder| folder.join("token")))?;
                std::fs::read_to_string(file).ok()
            })
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let is_on = |name: &str| {
            text(name).is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true"))
        };
        let offline = ["VIGOR_OFFLINE", "HF_HUB_OFFLINE"].into_iter().find(|name| is_on(name));
        Ok(Self {
            cache,
            config,
            hub_cache,
            hub_endpoint: text("HF_ENDPOINT").map_or_else(
                || "https://huggingface.co".to_owned(),
                |url| url.trim_end_matches('/').to_owned(),
            ),
            hub_token,
            offline,
            python: path("VIGOR_PYTHON").map_or_else(|| PathBuf::from("python3"), program),
        })
    }

    /// Where the files of an item are kept.
    pub(super) fn item(&self, kind: Kind, name: &str) -> PathBuf {
        self.cache.join(kind.folder()).join(name)
    }

    /// Where the hashes of verified files are remembered.
    pub(super) fn stamps(&self) -> PathBuf {
        self.cache.join("stamps")
    }

    /// Where the user's manifests of one kind are.
    pub(super) fn manifests(&self, kind: Kind) -> Option<PathBuf> {
        self.config.as_deref().map(|folder: &Path| folder.join(kind.folder()))
    }
}

/// A program is run from another folder: what is a path stays the same file; a bare name is looked for in `PATH`.
fn program(path: PathBuf) -> PathBuf {
    if path.components().count() > 1 { std::path::absolute(&path).unwrap_or(path) } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(vars: &[(&str, &str)]) -> Result<Places, SourceError> {
        Places::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_more_specific_variable_wins() {
        let home = places(&[("HOME", "/h")]).unwrap();
        assert_eq!(home.cache, Path::new("/h/.cache/vigor"));
        assert_eq!(home.hub_cache.unwrap(), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(home.config.unwrap(), Path::new("/h/.config/vigor"));
        let xdg = places(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]).unwrap();
        assert_eq!(xdg.cache, Path::new("/x/vigor"));
        assert_eq!(xdg.hub_cache.unwrap(), Path::new("/f/hub"));
        let own = places(&[("VIGOR_CACHE", "/v"), ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]).unwrap();
        assert_eq!(own.cache, Path::new("/v"));
        assert_eq!(own.hub_cache.unwrap(), Path::new("/c"));
        assert!(matches!(places(&[("HOME", "")]), Err(SourceError::NoCache)));
    }

    #[test]
    fn offline_is_read_as_the_hub_libraries_read_it() {
        let offline = |value| places(&[("HOME", "/h"), ("HF_HUB_OFFLINE", value)]).unwrap().offline;
        assert_eq!(offline("1"), Some("HF_HUB_OFFLINE"));
        assert_eq!(offline("True"), Some("HF_HUB_OFFLINE"));
        assert_eq!(offline("0"), None);
        assert_eq!(offline(""), None);
    }
}
